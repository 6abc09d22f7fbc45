import numpy as np
import pytest
import torch

from pipelines.dataset.shards import ChipStore
from pipelines.dataset.statistics import read_statistics
from pipelines.scenes.scene import MaskBit
from pipelines.training.augment import augment
from pipelines.training.batches import loader, train_loader
from tests.training.workspaces import make_workspace

STDS = np.array([2.0, 4.0, 8.0], np.float32)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int = 40, side: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every pixel has a number of its own, and image, label and mask carry the same."""
    numbers = torch.arange(count * side * side).reshape(count, side, side)
    return numbers[:, None].float().repeat(1, 3, 1, 1), numbers.clone(), numbers.clone()


@pytest.mark.parametrize("names", [["flip"], ["rotate90"], ["flip", "rotate90"]])
def test_image_label_and_mask_move_together(names):
    images, labels, masks = augment(*numbered(), names, chance(), STDS)
    for band in range(3):
        assert torch.equal(images[:, band].long(), labels)
    assert torch.equal(labels, masks)
    before = numbered()[1]
    assert not torch.equal(labels, before)
    for chip, former in zip(labels, before, strict=True):  # pixels stay in their chip, none is lost
        assert torch.equal(chip.flatten().sort().values, former.flatten())


def test_all_eight_attitudes_of_a_chip_occur():
    _, labels, _ = augment(*numbered(400), ["flip", "rotate90"], chance(), STDS)
    attitudes = {tuple((chip - chip.min()).flatten().tolist()) for chip in labels}
    assert len(attitudes) == 8


def test_brightness_scales_each_chip_by_a_factor_of_its_own_and_leaves_labels():
    images, labels, masks = augment(*numbered(), ["brightness"], chance(), STDS)
    before = numbered()
    gains = [float((image[:, 1:] / former[:, 1:]).mean()) for image, former in zip(images, before[0], strict=True)]
    assert torch.allclose(images, before[0] * torch.tensor(gains)[:, None, None, None], rtol=1e-5)
    assert 0.8 <= min(gains) < 0.9 < 1.1 < max(gains) <= 1.2
    assert torch.equal(labels, before[1]) and torch.equal(masks, before[2])


def test_color_scales_each_band_by_a_factor_of_its_own():
    before = numbered()[0] + 1
    images, _, _ = augment(before, *numbered()[1:], ["color"], chance(), STDS)
    gains = images / before
    assert torch.allclose(gains, gains[..., :1, :1].expand_as(gains), rtol=1e-5)
    spread = gains[:, :, 0, 0]
    assert 0.9 <= spread.min() < 0.95 < 1.05 < spread.max() <= 1.1
    assert (spread[:, 0] != spread[:, 1]).all()


def test_contrast_keeps_the_mean_of_clear_pixels_whatever_hidden_ones_hold():
    before, labels, masks = torch.rand(40, 3, 6, 6), torch.zeros(40, 6, 6), torch.zeros(40, 6, 6, dtype=torch.uint8)
    masks[:, 0], masks[:, 1] = MaskBit.NODATA, MaskBit.UNLABELLED  # what is only unlabelled can be seen
    before[:, :, 0] = torch.nan
    images, _, _ = augment(before, labels, masks, ["contrast"], chance(), STDS)
    clear, former = images[:, :, 1:], before[:, :, 1:]
    assert torch.allclose(clear.mean((-2, -1)), former.mean((-2, -1)), atol=1e-5)
    ratio = clear.std((-2, -1)) / former.std((-2, -1))
    assert 0.7 <= ratio.min() < 0.8 < 1.2 < ratio.max() <= 1.3 + 1e-5


def test_haze_lifts_all_bands_together_by_their_own_measure():
    before, labels, masks = numbered()
    images, _, _ = augment(before, labels, masks, ["haze"], chance(), STDS)
    shifts = (images - before)[:, :, 0, 0] / torch.from_numpy(STDS)
    assert torch.allclose(shifts, shifts[:, :1].expand_as(shifts), atol=1e-3)
    assert -0.3 <= shifts.min() < -0.2 < 0.2 < shifts.max() <= 0.3


def test_only_train_chips_are_augmented_and_each_epoch_differs(tmp_path):
    data = make_workspace(tmp_path) / "data"
    store, statistics = ChipStore(data / "chips"), read_statistics(data / "statistics.json")
    val = loader(store, statistics, "val", 4)
    labels = torch.cat([batch.labels for batch in val])
    assert np.array_equal(labels.numpy(), store.gather(store.rows("val"))[1])
    train = train_loader(store, statistics, 4, ["flip"], seed=3)

    def epoch(number: int) -> torch.Tensor:
        train.sampler.set_epoch(number)
        return torch.cat([batch.images for batch in train])

    assert not torch.equal(epoch(0), epoch(1))
    assert torch.equal(epoch(1), epoch(1))


def test_masked_pixels_reach_the_network_as_the_mean_and_others_in_physical_units(tmp_path):
    data = make_workspace(tmp_path) / "data"
    store, statistics = ChipStore(data / "chips"), read_statistics(data / "statistics.json")
    for batch in train_loader(store, statistics, 4, ["brightness"], seed=0):
        hidden = batch.labels == 255
        assert hidden.any()
        for band, mean in enumerate(statistics.means):
            assert torch.all(batch.images[:, band][hidden] == float(mean))
        assert batch.images.abs().max() < 1  # reflectance, although masked pixels were 60000


def test_every_train_chip_comes_once_an_epoch_in_batches_of_nearly_equal_size(tmp_path):
    data = make_workspace(tmp_path, train=13) / "data"
    store, statistics = ChipStore(data / "chips"), read_statistics(data / "statistics.json")
    order = train_loader(store, statistics, 4, [], seed=0).sampler
    draws = list(order)
    assert sorted(row for draw in draws for row in draw.rows) == list(range(13))
    assert [len(draw.rows) for draw in draws] == [4, 3, 3, 3]
