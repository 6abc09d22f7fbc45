"""The pixel sample of a dataset's chips, scene by scene: the input side of a model's reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from pipelines.dataset.shards import ChipStore, physical
from pipelines.monitoring.features import GROUND, UNUSABLE, Columns, dark_features, input_features
from pipelines.monitoring.profile import Facts, lattice
from pipelines.monitoring.texture import texture_features
from pipelines.progress import report

CHIPS = 128
"""Chips of a scene that are read, spread evenly over it; more would add reading and no knowledge."""


def chip_samples(store: ChipStore, sample: int, split: str = "train") -> Iterator[tuple[Facts, Columns]]:
    """About ``sample`` usable pixels of each scene of ``split``, with the scene's facts; in the order of scene ids."""
    rows = store.rows(split)
    table = store.index.iloc[rows]
    parts = numbered(table["block_id"])
    of_scene = table.groupby("scene_id", sort=True).indices
    for done, (scene, chips) in enumerate(of_scene.items()):
        report(done, len(of_scene), f"profile of {scene}")
        own = rows[chips]
        yield _scene_sample(store, scene, own[:: math.ceil(len(own) / CHIPS)], sample, parts)


def numbered(blocks: Iterable[object]) -> dict[str, int]:
    """A number for each block of ground, by name, so that scenes can be compared on ground that they do not share."""
    return {name: i for i, name in enumerate(sorted({str(block) for block in blocks}))}


def _scene_sample(
    store: ChipStore, scene: str, rows: np.ndarray, sample: int, parts: dict[str, int]
) -> tuple[Facts, Columns]:
    images, _, masks = store.gather(rows)
    usable = (masks & UNUSABLE) == 0
    count = sample / len(rows) / max(float(usable.mean()), 0.05)
    r, c = lattice((store.header.size, store.header.size), math.ceil(count))
    pixels = physical(images[:, :, r, c][..., None], store.scale[rows], store.offset[rows])[..., 0]
    kept = usable[:, r, c]
    columns = input_features(store.bands, pixels.transpose(1, 0, 2)[:, kept])
    textures = [
        texture_features(store.bands, _physical_chip(store, row, image), fine, r[inside], c[inside])
        for row, image, fine, inside in zip(rows, images, usable, kept, strict=True)
    ]
    columns |= {name: np.concatenate([one[name] for one in textures]) for name in textures[0]}
    part = [parts[str(block)] for block in store.index["block_id"].iloc[rows]]
    columns[GROUND] = np.repeat(np.array(part, np.int32), kept.sum(axis=1))
    columns |= dark_features(store.bands, columns)
    first = store.index.iloc[int(rows[0])]
    when = pd.Timestamp(first["datetime"])
    facts = Facts(
        scene=scene,
        season=str(first["season"]),
        zone=str(first["zone"]),
        when=(when.tz_localize("UTC") if when.tzinfo is None else when).to_pydatetime(),
        pixels=int(kept.sum()),
    )
    return facts, columns


def _physical_chip(store: ChipStore, row: int, image: np.ndarray) -> np.ndarray:
    return np.asarray(physical(image[None], store.scale[row][None], store.offset[row][None])[0])
