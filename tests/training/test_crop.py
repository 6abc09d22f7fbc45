"""A network sees windows of its train chips, at random places that seed and step alone decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipelines.config import load_params
from pipelines.dataset.boxes import BOXES, BoxStore
from pipelines.dataset.shards import ChipStore, shard_file
from pipelines.dataset.statistics import Statistics, read_statistics
from pipelines.labels.boxes import VISIBLE
from pipelines.training import detection
from pipelines.training.augment import crops, turned
from pipelines.training.batches import ChipBatches, Draw, loader, train_loader
from tests.training.workspaces import make_workspace


def opened(folder: Path) -> tuple[ChipStore, Statistics]:
    return ChipStore(folder / "data" / "chips"), read_statistics(folder / "data" / "statistics.json")


def test_a_crop_can_lie_anywhere_in_its_chip_and_nowhere_else() -> None:
    corners, side = crops(5000, 96, 64, np.random.default_rng(0))
    assert side == 64 and corners.shape == (5000, 2)
    for axis in corners.T:
        assert np.bincount(axis, minlength=33).min() > 5000 / 33 / 2 and axis.max() == 32
    assert abs(np.corrcoef(corners.T)[0, 1]) < 0.05


def test_images_labels_and_masks_are_cut_alike_from_every_chip(tmp_path: Path) -> None:
    store, statistics = opened(make_workspace(tmp_path))
    draw = Draw(2, 1, np.array([9, 0, 14, 3, 3]))
    whole, classes, _ = ChipBatches(store, statistics, (), 0)[draw]
    (images, labels, rows), crop, lie = ChipBatches(store, statistics, ("flip", "rotate90"), 0, crop=32).drawn(draw)
    assert images.shape == (5, 4, 32, 32) and labels.shape == (5, 32, 32) and rows.tolist() == draw.rows.tolist()
    assert crop and len(set(map(tuple, crop.corners.tolist()))) == 5  # the same chip twice, in two places
    for i, (top, left) in enumerate(crop.corners):
        window = np.s_[..., top : top + 32, left : left + 32]
        assert np.array_equal(images[i].numpy(), turned(whole[i].numpy()[window], lie[i]))
        assert np.array_equal(labels[i].numpy(), turned(classes[i].numpy()[window], lie[i]))


def test_crops_differ_from_epoch_to_epoch_and_val_chips_stay_whole(tmp_path: Path) -> None:
    store, statistics = opened(make_workspace(tmp_path))
    train = train_loader(store, statistics, 4, [], seed=3, crop=32)

    def epoch(number: int) -> torch.Tensor:
        train.sampler.set_epoch(number)
        batches = list(train)
        return torch.cat([b.images for b in batches])[torch.cat([b.rows for b in batches]).argsort()]

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(0), epoch(1))
    assert {batch.images.shape[-1] for batch in loader(store, statistics, "val", 4)} == {64}


def test_boxes_are_those_of_what_a_crop_shows_of_its_objects(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, train=40, val=1)
    random = np.random.default_rng(4)
    labels = np.zeros((41, 64, 64), np.uint8)
    rows = []
    for chip, label in enumerate(labels):
        (left, top), (width, height) = random.integers(0, 40, 2), random.integers(8, 24, 2)
        label[top : top + height, left : left + width] = 1
        rows.append((chip, 1, left, top, left + width, top + height, width * height))
    np.save(workspace / "data" / "chips" / shard_file(0, "labels"), labels)
    columns = ["chip", "class", "left", "top", "right", "bottom", "area"]
    pd.DataFrame(rows, columns=columns).to_parquet(workspace / "data" / "chips" / BOXES)
    store, statistics = opened(workspace)
    settings = load_params(workspace / "params.yaml").train.model_copy(update={"batch": 40, "crop": 32})
    boxes, drawn = BoxStore(store.folder), 0
    train = detection.train_loader(store, boxes, statistics, settings)
    for number in range(4):
        train.sampler.set_epoch(number)
        [draw] = list(train.sampler)
        batch, _, _ = train.dataset.chips.drawn(draw)
        for row, seen, target in zip(draw.rows, batch.labels, train.dataset[draw].targets, strict=True):
            shown = seen == 1
            if shown.sum() < VISIBLE * (labels[row] == 1).sum():
                assert len(target["boxes"]) == 0
                continue
            down, across = torch.nonzero(shown, as_tuple=True)
            edges = [across.min(), down.min(), across.max() + 1, down.max() + 1]
            assert target["boxes"].tolist() == [[float(edge) for edge in edges]]
            assert target["labels"].tolist() == [1]
            drawn += len(edges)
    assert 0 < drawn / 4 < 160  # some objects were cut away, others not


def test_an_object_whose_rest_is_masked_is_none(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, train=8, val=1)
    labels = np.zeros((9, 64, 64), np.uint8)
    labels[:, :, 24:40] = 1
    labels[:, :, 16:32] = 255  # the left half of a column is under cloud, the right one is not
    np.save(workspace / "data" / "chips" / shard_file(0, "labels"), labels)
    one = {"class": 1, "left": 24, "top": 0, "right": 40, "bottom": 64, "area": 1024}
    pd.DataFrame([{"chip": chip} | one for chip in range(9)]).to_parquet(workspace / "data" / "chips" / BOXES)
    store, statistics = opened(workspace)
    settings = load_params(workspace / "params.yaml").train.model_copy(update={"batch": 8, "crop": 32, "augment": ()})
    train = detection.train_loader(store, BoxStore(store.folder), statistics, settings)
    seen = set()
    for number in range(8):
        train.sampler.set_epoch(number)
        [draw] = list(train.sampler)
        _, crop, _ = train.dataset.chips.drawn(draw)
        for (_, left), target in zip(crop.corners, train.dataset[draw].targets, strict=True):
            begins, ends = max(24, left), min(40, left + 32)  # of what the crop shows, half as high as the object
            if (ends - begins) / 16 / 2 >= VISIBLE:
                clear = (begins + ends) / 2 >= 32
                assert len(target["boxes"]) == clear
                seen.add(clear)
    assert seen == {True, False}
