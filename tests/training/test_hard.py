"""Chips on which the network does badly come more often, and nothing else changes."""

import numpy as np
import pytest
import torch

from pipelines.config import load_params
from pipelines.dataset.shards import ChipStore, shard_file
from pipelines.dataset.statistics import read_statistics
from pipelines.training.batches import Batch, BatchOrder, train_loader
from pipelines.training.hard import HardChips
from pipelines.training.train import train
from tests.training.workspaces import make_workspace

TWINS = [3, 11]  # chips whose labels say the opposite of what all others of that look say


def told(hard, epochs):
    """``hard`` after epochs of batches, each a list of rows and losses."""
    for batches in epochs:
        for rows, losses in batches:
            batch = Batch(torch.empty(0), torch.empty(0), torch.tensor(rows))
            hard.on_train_batch_end(None, None, {"by_chip": torch.tensor(losses)}, batch, 0)
        hard.on_train_epoch_end(None, None)
    return hard


def test_the_worst_are_drawn_once_more_in_place_of_as_many_others():
    rows = np.array([7, 2, 9, 4, 5, 8, 3, 6])
    hard = HardChips(0.25, chips=12)
    assert hard.mixed(rows) is rows
    told(hard, [[([2, 3, 4, 5], [0.1, 0.9, 0.3, 0.2]), ([6, 7, 8, 9], [0.4, 0.0, 0.8, 0.5])]])
    assert hard.mixed(rows).tolist() == [7, 2, 9, 4, 5, 8, 3, 8]


def test_the_loss_that_counts_is_the_one_last_seen():
    rows = np.arange(4)
    hard = told(
        HardChips(0.25, 4), [[([0, 1, 2, 3], [0.1, 0.9, 0.2, 0.3])], [([1, 0, 2], [0.5, 0.1, 0.2]), ([1], [0.0])]]
    )
    assert hard.mixed(rows).tolist() == [0, 1, 2, 3]
    assert hard.losses.tolist() == pytest.approx([0.1, 0.0, 0.2, 0.3])


def test_within_an_epoch_nothing_that_is_learned_changes_the_draw():
    hard = told(HardChips(0.5, 4), [[([0, 1, 2, 3], [0.4, 0.3, 0.2, 0.1])]])
    batch = Batch(torch.empty(0), torch.empty(0), torch.tensor([3]))
    hard.on_train_batch_end(None, None, {"by_chip": torch.tensor([9.0])}, batch, 0)
    assert hard.mixed(np.arange(4)).tolist() == [0, 1, 0, 1]


def test_what_is_remembered_survives_in_a_checkpoint(tmp_path):
    hard = told(HardChips(0.5, 4), [[([0, 1, 2, 3], [0.4, 0.3, 0.2, 0.1])]])
    torch.save(hard.state_dict(), tmp_path / "state")
    other = HardChips(0.5, 4)
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    rows = np.array([2, 0, 3, 1])
    assert np.array_equal(other.mixed(rows), hard.mixed(rows))


def test_an_epoch_keeps_its_size_its_batches_and_its_seed():
    hard = told(HardChips(0.3, 13), [[(list(range(13)), np.linspace(0, 1, 13).tolist())]])

    def epoch(number, mixed):
        order = BatchOrder(np.arange(13), 4, 0, mixed)
        order.set_epoch(number)
        return [draw.rows.tolist() for draw in order]

    drawn = epoch(1, hard.mixed)
    assert drawn == epoch(1, hard.mixed) != epoch(2, hard.mixed)
    assert [len(rows) for rows in drawn] == [len(rows) for rows in epoch(1, None)] == [4, 3, 3, 3]
    counts = np.bincount(np.concatenate(drawn), minlength=13)
    assert (counts[9:] >= 1).all() and counts[:9].max() == 1 and counts.sum() == 13


def test_batches_tell_which_chips_they_are(tmp_path):
    data = make_workspace(tmp_path) / "data"
    store, statistics = ChipStore(data / "chips"), read_statistics(data / "statistics.json")
    for batch in train_loader(store, statistics, 5, [], seed=0):
        assert np.array_equal(store.gather(batch.rows.numpy())[1], batch.labels.numpy())


@pytest.mark.slow
def test_a_training_meets_rare_look_alikes_more_often(tmp_path, monkeypatch):
    workspace = make_workspace(
        tmp_path / "workspace", train=24, val=2, size=32, epochs=8, patience=8, batch=8, augment=[], hard=0.125
    )
    shard = workspace / "data" / "chips" / shard_file(0, "labels")
    labels = np.load(shard)
    for twin in TWINS:
        labels[twin] = np.where(labels[twin] == 255, 255, (labels[twin] + 1) % 3)
    np.save(shard, labels)
    drawn = np.zeros(24, int)
    original = BatchOrder.__iter__

    def counted(self):
        for draw in original(self):
            if self.seed is not None:
                np.add.at(drawn, draw.rows, 1)
            yield draw

    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWATH_REVISION", "c0ffee")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(BatchOrder, "__iter__", counted)
    train(workspace, load_params(workspace / "params.yaml"))
    assert drawn.sum() == 8 * 24
    others = np.delete(drawn, TWINS)
    assert drawn[TWINS].min() > others.max() and drawn[TWINS].mean() > 1.5 * others.mean(), drawn
