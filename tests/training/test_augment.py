import numpy as np
import pytest
import torch

from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.statistics import read_statistics
from pipelines.scenes.scene import MaskBit
from pipelines.training.augment import attitudes, lit, turned
from pipelines.training.batches import ChipBatches, Draw, loader, seed_of, train_loader
from tests.training.workspaces import make_workspace

STDS = np.array([2.0, 4.0, 8.0], np.float32)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbered(count: int = 40, side: int = 6) -> np.ndarray:
    """Every pixel has a number of its own."""
    return np.arange(count * side * side).reshape(count, side, side)


def pictures(count: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of three bands as they are stored, clear masks, and scale and offset of each chip and band."""
    random = np.random.default_rng(1)
    pixels = random.integers(1, 1000, (count, 3, 6, 6), dtype=np.uint16)
    scale, offset = (random.uniform(0.1, 1, (count, 3)).astype(np.float32) for _ in range(2))
    return pixels, np.zeros((count, 6, 6), np.uint8), scale, offset


def before_and_after(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures in physical units, under their own light and under another."""
    pixels, masks, scale, offset = pictures()
    after = physical(pixels, *lit(pixels, masks, scale, offset, names, chance(), STDS))
    return physical(pixels, scale, offset), after


@pytest.mark.parametrize("names", [["flip"], ["rotate90"], ["flip", "rotate90"]])
def test_a_turned_chip_keeps_its_pixels_whatever_is_turned(names):
    for chip, attitude in zip(numbered(), attitudes(40, names, chance()), strict=True):
        image, label = turned(np.stack([chip] * 3), attitude), turned(chip, attitude)
        assert (image == label).all()  # all bands and the labels move together
        assert np.array_equal(np.sort(label.ravel()), chip.ravel())


@pytest.mark.parametrize(("names", "count"), [(["flip"], 4), (["rotate90"], 4), (["flip", "rotate90"], 8), ([], 1)])
def test_all_attitudes_of_a_chip_occur(names, count):
    chip = numbered(1)[0]
    assert len({turned(chip, attitude).tobytes() for attitude in attitudes(400, names, chance())}) == count


def test_brightness_scales_each_chip_by_a_factor_of_its_own():
    before, after = before_and_after(["brightness"])
    gains = after / before
    assert np.allclose(gains, gains[:, :1, :1, :1], rtol=1e-5)
    assert 0.8 <= gains.min() < 0.9 < 1.1 < gains.max() <= 1.2 + 1e-6


def test_color_scales_each_band_by_a_factor_of_its_own():
    before, after = before_and_after(["color"])
    gains = after / before
    assert np.allclose(gains, gains[..., :1, :1], rtol=1e-5)
    spread = gains[:, :, 0, 0]
    assert 0.9 <= spread.min() < 0.95 < 1.05 < spread.max() <= 1.1 + 1e-6
    assert (spread[:, 0] != spread[:, 1]).all()


@pytest.mark.parametrize("names", [["contrast"], ["brightness", "color", "contrast"]])
def test_contrast_keeps_the_mean_of_clear_pixels_whatever_hidden_ones_hold(names):
    pixels, masks, scale, offset = pictures()
    masks[:, 0], masks[:, 1] = MaskBit.NODATA, MaskBit.UNLABELLED  # what is only unlabelled can be seen
    pixels = pixels.astype(np.float32)
    pixels[:, :, 0] = np.nan

    def clear(names: list[str]) -> np.ndarray:
        return physical(pixels, *lit(pixels, masks, scale, offset, names, chance(), STDS))[:, :, 1:]

    after, before = clear(names), clear(names[:-1])
    assert np.allclose(after.mean((-2, -1)), before.mean((-2, -1)), rtol=1e-4)
    ratio = after.std((-2, -1)) / before.std((-2, -1))
    assert np.allclose(ratio, ratio[:, :1], rtol=1e-4)
    assert 0.7 - 1e-5 <= ratio.min() < 0.8 < 1.2 < ratio.max() <= 1.3 + 1e-5


def test_haze_lifts_all_bands_together_by_their_own_measure():
    before, after = before_and_after(["haze"])
    shifts = (after - before) / STDS[:, None, None]
    assert np.allclose(shifts, shifts[:, :1, :1, :1], atol=1e-3)
    assert -0.3 - 1e-3 <= shifts.min() < -0.2 < 0.2 < shifts.max() <= 0.3 + 1e-3


def test_each_chip_of_a_batch_has_its_own_scale_and_offset(tmp_path):
    workspace = make_workspace(tmp_path)
    store = ChipStore(workspace / "data" / "chips")
    statistics = read_statistics(workspace / "data" / "statistics.json")
    store.offset[::2] += 0.1  # as of another processing baseline
    store.scale[1::2] *= 2
    rows = np.array([3, 0, 5, 2])
    images, _, _ = ChipBatches(store, statistics, [], seed=0)[Draw(0, 0, rows)]
    pixels, _, masks = store.gather(rows)
    expected = physical(pixels, store.scale[rows], store.offset[rows])
    clear = np.broadcast_to((masks == 0)[:, None], expected.shape)
    assert np.array_equal(images.numpy()[clear], expected[clear])


def test_images_and_labels_of_a_batch_are_turned_together(tmp_path):
    data = make_workspace(tmp_path) / "data"
    store, statistics = ChipStore(data / "chips"), read_statistics(data / "statistics.json")
    turning = ChipBatches(store, statistics, ["flip", "rotate90"], seed=0)
    draw = Draw(0, 0, store.rows("train"))
    images, labels, _ = turning[draw]
    upright, classes, _ = ChipBatches(store, statistics, [], seed=0)[draw]
    assert images.is_contiguous(memory_format=torch.channels_last)
    drawn = attitudes(len(draw.rows), ["flip", "rotate90"], chance(seed_of(0, 0, 0)))
    assert len(set(drawn)) > 4
    for i, attitude in enumerate(drawn):
        assert np.array_equal(images[i].numpy(), turned(upright[i].numpy(), attitude))
        assert np.array_equal(labels[i].numpy(), turned(classes[i].numpy(), attitude))


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


def test_several_threads_make_the_batches_that_one_makes(tmp_path):
    data = make_workspace(tmp_path) / "data"
    store, statistics = ChipStore(data / "chips"), read_statistics(data / "statistics.json")
    epochs = []
    for threads in (0, 3):
        train = train_loader(store, statistics, 4, ["flip", "rotate90", "brightness", "contrast"], seed=3, crop=32)
        train.threads = threads
        train.sampler.set_epoch(1)
        epochs.append(list(train))
    for one, other in zip(*epochs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert len(epochs[0]) > 2


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
