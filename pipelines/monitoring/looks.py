"""What the training ground looks like, place by place: beside it the labelling queue tells what is new."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.shards import ChipStore, physical
from pipelines.files import replacing
from pipelines.monitoring.features import UNUSABLE
from pipelines.monitoring.worth import look_of

FILE = "looks.npz"
MOST = 2048  # chips, spread evenly over the train split
_BATCH = 64


@dataclass(frozen=True)
class Looks:
    """Looks of chips of ``side`` pixels, float32 ``(chips, 2 * bands)``, as ``look_of`` gives them."""

    bands: tuple[str, ...]
    side: int
    values: NDArray[np.float32]

    @classmethod
    def none(cls, bands: tuple[str, ...], side: int = 64) -> Looks:
        """Of training ground that nothing is known of."""
        return cls(bands, side, np.empty((0, 2 * len(bands)), np.float32))

    def write(self, folder: Path) -> None:
        with replacing(folder / FILE) as draft, draft.open("wb") as stream:
            np.savez(stream, bands=np.array(self.bands), side=self.side, values=self.values)


def read_looks(folder: Path) -> Looks | None:
    """The looks in a bundle's ``reference/inputs``; ``None`` in one that was made before there were any."""
    if not (path := folder / FILE).exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        return Looks(tuple(kept["bands"].tolist()), int(kept["side"]), kept["values"])


def chip_looks(store: ChipStore) -> Looks:
    """Looks of train chips; those without a usable pixel have none."""
    rows = store.rows("train")
    rows = rows[:: -(-len(rows) // MOST)]
    found = []
    for part in (rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)):
        images, _, masks = store.gather(part)
        pixels, usable = physical(images, store.scale[part], store.offset[part]), (masks & UNUSABLE) == 0
        found += [look_of(*one) for one in zip(pixels, usable, strict=True) if one[1].any()]
    return Looks(store.bands, store.header.size, np.stack(found))
