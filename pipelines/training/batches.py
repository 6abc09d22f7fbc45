"""Whole batches straight from the memory-mapped chips, in an order that epoch and seed alone decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from joblib import cpu_count
from lightning_utilities.core.apply_func import apply_to_collection
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pipelines.ahead import mapped
from pipelines.dataset.crop import Crop
from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.statistics import Statistics, fill_masked
from pipelines.training.augment import Attitude, attitudes, crops, lit, turned

T = TypeVar("T")
Mixed = Callable[[NDArray[np.int64]], NDArray[np.int64]]


class Batch(NamedTuple):
    """Images ``(n, bands, h, w)`` float32, physical, masked pixels filled; labels ``(n, h, w)`` int64, 255 ignored.

    ``rows`` ``(n,)`` int64 tells which chips of the index they are. In memory the bands of a pixel lie together
    (``channels_last``).
    """

    images: Tensor
    labels: Tensor
    rows: Tensor


class Draw(NamedTuple):
    """Which chips make a batch, and what its chance is drawn from."""

    epoch: int
    step: int
    rows: NDArray[np.int64]


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, each of which matters."""
    return int(np.random.SeedSequence([n % 2**32 for n in numbers]).generate_state(1)[0])


class BatchOrder(Sampler[Draw]):
    """Batches of nearly equal size, shuffled anew each epoch when there is a seed. Nothing else is remembered.

    ``mixed`` may change which of the shuffled rows an epoch has, though not how many.
    """

    def __init__(self, rows: NDArray[np.int64], batch: int, seed: int | None, mixed: Mixed | None = None) -> None:
        self.rows, self.seed, self.epoch, self.mixed = rows, seed, 0, mixed
        # where a batch may have several chips none has one, on which batch normalisation has nothing to go by
        self.steps = min(math.ceil(len(rows) / batch), max(1, len(rows) // min(batch, 2)))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Draw]:
        rows = self.rows
        if self.seed is not None:
            random = np.random.default_rng(seed_of(self.seed, self.epoch))
            rows = random.permutation(rows)
            rows = random.permutation(self.mixed(rows)) if self.mixed else rows
        for step, part in enumerate(np.array_split(rows, self.steps)):
            yield Draw(self.epoch, step, part)


class ChipBatches(Dataset[Batch]):
    """Chips as batches, or of each chip a window of ``crop`` pixels by chance; integers until here."""

    def __init__(
        self,
        store: ChipStore,
        statistics: Statistics,
        augmentation: Sequence[str],
        seed: int,
        crop: int | None = None,
    ) -> None:
        self.store, self.statistics = store, statistics
        self.augmentation, self.seed, self.crop = tuple(augmentation), seed, crop

    def __getitem__(self, draw: Draw) -> Batch:
        return self.drawn(draw)[0]

    def drawn(self, draw: Draw) -> tuple[Batch, Crop | None, list[Attitude]]:
        """A batch, which windows of the chips it shows, and how each lies in it."""
        chance = np.random.default_rng(seed_of(self.seed, draw.epoch, draw.step))
        crop = crops(len(draw.rows), self.store.header.size, self.crop, chance) if self.crop else None
        pixels, labels, masks = self.store.gather(draw.rows, crop)
        scale, offset = self.store.scale[draw.rows], self.store.offset[draw.rows]
        lie = [Attitude()] * len(pixels)
        if self.augmentation:
            scale, offset = lit(pixels, masks, scale, offset, self.augmentation, chance, self.statistics.stds)
            lie = attitudes(len(pixels), self.augmentation, chance)
        count, bands, *sides = pixels.shape
        images, classes = np.empty((count, *sides, bands), np.float32), np.empty((count, *sides), np.int64)
        for i, attitude in enumerate(lie):  # one after another, so that all that happens to a chip happens in the cache
            values = physical(pixels[[i]], scale[[i]], offset[[i]])[0]
            values = turned(fill_masked(values, masks[i], self.statistics.means), attitude)
            for band in range(bands):
                images[i, ..., band] = values[band]
            classes[i] = turned(labels[i], attitude)
        batch = Batch(
            torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(classes), torch.from_numpy(draw.rows)
        )
        return batch, crop, lie


_MOST_THREADS = 4  # which are enough for an H100; more hold more batches, and an epoch's first one comes later


class Loader(DataLoader[T]):
    """Batches in their order, one after another.

    A GPU is faster than one thread makes them: for it several make the next ones, in memory that it copies from by
    itself. On processors this would take time from the network.
    """

    def __init__(self, batches: Dataset[T], order: BatchOrder) -> None:
        super().__init__(batches, batch_size=None, sampler=order)
        self.pinned = torch.cuda.is_available()
        self.threads = min(cpu_count(), _MOST_THREADS) if self.pinned else 0

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        return mapped(self._batch, self.sampler, self.threads) if self.threads else super().__iter__()

    def _batch(self, draw: Draw) -> T:
        batch = self.dataset[draw]
        found: T = apply_to_collection(batch, Tensor, Tensor.pin_memory) if self.pinned else batch
        return found


def train_loader(
    store: ChipStore,
    statistics: Statistics,
    batch: int,
    augmentation: Sequence[str],
    seed: int,
    mixed: Mixed | None = None,
    crop: int | None = None,
) -> Loader[Batch]:
    """Shuffled, cropped and augmented batches of the train split."""
    chips = ChipBatches(store, statistics, augmentation, seed, crop)
    return Loader(chips, BatchOrder(store.rows("train"), batch, seed, mixed))


def loader(store: ChipStore, statistics: Statistics, split: str, batch: int) -> Loader[Batch]:
    """Batches of a split as they are, in the order of the index."""
    return Loader(ChipBatches(store, statistics, (), 0), BatchOrder(store.rows(split), batch, None))
