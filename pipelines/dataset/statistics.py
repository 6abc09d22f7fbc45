"""Per-band statistics of the train split's usable pixels, streamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.dataset.shards import ChipStore, physical
from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.progress import report
from pipelines.scenes.scene import MaskBit

_BATCH = 64  # chips that are in memory at once
_SAMPLE = 1_000_000  # pixels that the percentiles are taken from, about


class BandStatistics(BaseModel):
    """One band of the train split, in physical ``units``."""

    model_config = ConfigDict(frozen=True)

    name: str
    units: str
    mean: float
    std: float
    minimum: float
    maximum: float
    p01: float
    p99: float


class Statistics(BaseModel):
    """``data/statistics.json``: what normalises the input of a model, and travels with it."""

    model_config = ConfigDict(frozen=True)

    bands: tuple[BandStatistics, ...]
    class_pixels: dict[str, int]
    chips: int

    @property
    def means(self) -> NDArray[np.float32]:
        """``(bands,)``"""
        return np.array([band.mean for band in self.bands], np.float32)

    @property
    def stds(self) -> NDArray[np.float32]:
        """``(bands,)``"""
        return np.array([band.std for band in self.bands], np.float32)


def read_statistics(path: Path) -> Statistics:
    if not Path(path).exists():
        raise BadData(f"{path} does not exist; run `swath statistics` first.")
    return Statistics.model_validate(read_json(path))


def train_statistics(store: ChipStore) -> Statistics:
    """Statistics of the pixels of train chips whose mask is 0, read in batches of chips.

    Mean and variance are merged batch by batch after Chan, Golub and LeVeque (1979, "Updating formulae and a pairwise
    algorithm for computing sample variances"), in float64. The percentiles come from a seeded sample of about a
    million pixels, in which every usable pixel has the same chance.
    """
    rows = store.rows("train")
    names = [f"pixels_{name}" for name in store.classes]
    class_pixels = {c: int(store.index.loc[rows, column].sum()) for c, column in zip(store.classes, names, strict=True)}
    share = min(1.0, _SAMPLE / max(1, sum(class_pixels.values())))
    random = np.random.default_rng(0)
    bands = len(store.bands)
    count, mean, squares = 0, np.zeros(bands), np.zeros(bands)
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    samples: list[NDArray[np.float32]] = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        images, _, masks = store.gather(batch)
        values = physical(images, store.scale[batch], store.offset[batch])
        pixels = values.transpose(1, 0, 2, 3)[:, masks == 0].astype(np.float64)  # (bands, usable pixels)
        n = pixels.shape[1]
        if n == 0:
            continue
        here = pixels.mean(axis=1)
        shift = here - mean
        squares += ((pixels - here[:, None]) ** 2).sum(axis=1) + shift**2 * (count * n / (count + n))
        mean += shift * (n / (count + n))
        count += n
        low, high = np.minimum(low, pixels.min(axis=1)), np.maximum(high, pixels.max(axis=1))
        samples.append(pixels[:, random.random(n) < share].astype(np.float32))
        report(start + len(batch), len(rows), "statistics")
    if count == 0:
        raise BadData("The train split has no usable pixel; lower chips.min_valid or add labels.")
    std = np.sqrt(squares / count)
    if (flat := [b for b, s in zip(store.bands, std, strict=True) if s == 0]) or not np.isfinite(std).all():
        raise BadData(
            f"Band(s) {flat or store.bands} are constant or not finite over the train split; drop or repair them."
        )
    sample = np.concatenate(samples, axis=1)
    p01, p99 = np.percentile(sample if sample.shape[1] else mean[:, None], [1, 99], axis=1)
    return Statistics(
        bands=tuple(
            BandStatistics(
                name=name,
                units=store.header.units[i],
                mean=float(mean[i]),
                std=float(std[i]),
                minimum=float(low[i]),
                maximum=float(high[i]),
                p01=float(p01[i]),
                p99=float(p99[i]),
            )
            for i, name in enumerate(store.bands)
        ),
        class_pixels=class_pixels,
        chips=len(rows),
    )


def hidden(masks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where there is no clear ground. Unlabelled ground can be seen, and at prediction all ground is unlabelled."""
    return np.asarray((masks & ~np.uint8(MaskBit.UNLABELLED)) != 0)


def fill_masked(
    images: NDArray[np.float32], masks: NDArray[np.uint8], means: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``images`` ``(..., bands, h, w)``, physical units, with the band's mean where there is no clear ground.

    ``masks`` is ``(..., h, w)``, ``means`` is ``(bands,)``. After normalisation such pixels are 0. Where all ground is
    clear these are ``images`` themselves, else a copy.
    """
    without = hidden(masks)
    if not without.any():
        return images
    return np.where(without[..., None, :, :], means[:, None, None], images).astype(np.float32, copy=False)
