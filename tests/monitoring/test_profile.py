"""Profiles: the sample, what is left out of it, merging, and the file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import BadData
from pipelines.monitoring.features import input_features
from pipelines.monitoring.profile import SceneProfile, lattice, logged, merged, read_profile
from pipelines.monitoring.texture import texture_features
from pipelines.scenes.scene import MaskBit
from tests.monitoring.world import BANDS, CLASSES, PARAMS, SIDE, Ground, observed, pixels


def mean(profile, feature):
    return profile.view.get_column(feature).get_metric("distribution").mean.value


def count(profile, feature):
    return profile.view.get_column(feature).get_metric("counts").n.value


def test_the_sample_stands_for_the_scene():
    image, _ = pixels(7)
    profile = observed(Ground("a"), 7).profile()
    for band, name in enumerate(BANDS):
        assert mean(profile, f"band.{name}") == pytest.approx(image[band].mean(), abs=0.01)
    assert profile.facts.pixels == pytest.approx(PARAMS.sample, rel=0.05)
    assert count(profile, "map.class") == profile.facts.pixels


@pytest.mark.parametrize("step", [1, 17, SIDE])
def test_the_height_of_row_bands_does_not_matter(tmp_path: Path, step: int):
    observed(Ground("a"), 7, step=step).write(tmp_path / "other.bin")
    observed(Ground("a"), 7).write(tmp_path / "one.bin")
    assert (tmp_path / "other.bin").read_bytes() == (tmp_path / "one.bin").read_bytes()


def test_masked_pixels_are_counted_and_not_measured():
    image, probabilities = pixels(7)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[: SIDE // 4] = MaskBit.NODATA
    mask[SIDE // 4 : SIDE // 2] = MaskBit.CLOUD
    mask[-1] = MaskBit.UNLABELLED  # no reason to leave a pixel out here
    image[:, : SIDE // 2] = 50.0
    observer = SceneProfile(BANDS, CLASSES, 2048, (SIDE, SIDE), Ground("a", nodata_share=0.25, cloud_share=1 / 3))
    observer(slice(0, SIDE), image, mask, probabilities)
    profile = observer.profile()
    assert profile.view.get_column("band.B02").get_metric("distribution").max < 1
    assert profile.facts.nodata_share == pytest.approx(0.25)
    assert profile.facts.cloud_share == pytest.approx(1 / 3)
    assert profile.facts.pixels == pytest.approx(2048, rel=0.05)  # the sample is as large as that of a clear scene


def test_a_scene_without_a_usable_pixel_has_a_profile_too(tmp_path: Path):
    observed(Ground("a"), 7, mask=np.full((SIDE, SIDE), MaskBit.NODATA, np.uint8)).write(tmp_path / "p.bin")
    facts = read_profile(tmp_path / "p.bin").facts
    assert (facts.pixels, facts.nodata_share, facts.cloud_share) == (0, 1.0, 0.0)


def test_merging_halves_gives_the_whole():
    ground = Ground("a")
    columns = observed(ground, 7).columns()
    facts = observed(ground, 7).facts()
    n = facts.pixels // 2
    pair = [{name: values[part] for name, values in columns.items()} for part in (slice(None, n), slice(n, None))]
    both, whole = merged([logged(half, facts) for half in pair]), logged(columns, facts)
    assert count(both, "band.B08") == count(whole, "band.B08")
    assert mean(both, "band.B08") == pytest.approx(mean(whole, "band.B08"))
    kll = [p.view.get_column("band.B08").get_metric("distribution").kll.value for p in (both, whole)]
    assert kll[0].get_quantiles([0.1, 0.5, 0.9]) == kll[1].get_quantiles([0.1, 0.5, 0.9])


def test_merging_is_associative_and_leaves_its_parts_alone():
    a, b, c = (observed(Ground(str(seed), zone=f"2{seed}S"), seed).profile() for seed in (1, 2, 3))
    left, right = merged([merged([a, b]), c]), merged([a, merged([b, c])])
    assert left.facts == right.facts
    assert (left.facts.scenes, left.facts.season, left.facts.zone) == (3, "summer", None)
    for feature in ("band.B02", "index.ndvi", "map.confidence"):
        assert count(left, feature) == count(right, feature) == sum(count(p, feature) for p in (a, b, c))
        assert mean(left, feature) == pytest.approx(mean(right, feature))
    assert count(a, "band.B02") == a.facts.pixels


def test_a_profile_is_read_back_as_it_was_written(tmp_path: Path):
    when = datetime(2025, 3, 4, 5, 6, tzinfo=UTC)
    profile = observed(Ground("a", "autumn", "22N", when), 7).profile()
    profile.write(tmp_path / "p.bin")
    again = read_profile(tmp_path / "p.bin")
    assert again.facts == profile.facts and again.facts.when == when
    pd.testing.assert_frame_equal(again.view.to_pandas().sort_index(), profile.view.to_pandas().sort_index())


def test_whylogs_itself_reads_the_file(tmp_path: Path):
    observed(Ground("a"), 7).write(tmp_path / "p.bin")
    import whylogs

    assert "band.B08" in whylogs.read(str(tmp_path / "p.bin")).view().get_columns()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"WHY1\x00\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "p.bin").write_bytes(content)
    with pytest.raises(BadData, match=r"p\.bin is not a readable profile"):
        read_profile(tmp_path / "p.bin")


def test_indices_follow_their_formulas_whatever_the_order_of_bands():
    image = np.array([[0.1], [0.3], [0.2]], np.float32)
    assert input_features(["B04", "B08", "B03"], image)["index.ndvi"][0] == pytest.approx(0.5)
    assert input_features(["green", "red", "nir"], image)["index.ndwi"][0] == pytest.approx(-1 / 3)
    colours = [name for name in input_features(["red", "green", "blue"], image) if name.startswith("index")]
    assert colours == ["index.red-green", "index.green-blue", "index.blue-red"]
    assert input_features(["B04", "B08"], np.zeros((2, 1), np.float32))["index.ndvi"][0] == 0


def test_the_lattice_covers_a_scene_evenly():
    rows, cols = lattice((300, 200), 600)
    quarters = np.histogram2d(rows, cols, bins=(2, 2), range=((0, 300), (0, 200)))[0]
    assert len(rows) == pytest.approx(600, rel=0.05)
    assert quarters.max() - quarters.min() <= 0.1 * quarters.mean()
    assert len(set(zip(*lattice((5, 7), 1000), strict=True))) == 35  # all of a scene that is smaller than the sample


def test_detail_tells_noise_from_smooth_ground_and_register_finds_a_band_that_moved():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 40, 200)).astype(np.float32)
    smooth = np.cumsum(noise, axis=-1)
    rows, cols = lattice((40, 200), 800)
    usable = np.ones((40, 200), bool)
    rough = texture_features(("a", "b"), noise, usable, rows, cols)
    even = texture_features(("a", "b"), smooth, usable, rows, cols)
    assert rough["detail.a"].mean() == pytest.approx(3, abs=0.3)  # the variance ratio 6 / 2 of white noise
    assert even["detail.a"].mean() == pytest.approx(2, abs=0.2)  # steps are white, so bends have twice their energy
    together = np.stack([smooth[0], 2 * smooth[0]])
    apart = np.stack([smooth[0], 2 * np.roll(smooth[0], 2, axis=-1)])
    assert texture_features(("a", "b"), together, usable, rows, cols)["register.a-b"].min() > 0.99
    assert abs(np.median(texture_features(("a", "b"), apart, usable, rows, cols)["register.a-b"])) < 0.2


def test_masked_neighbours_count_for_nothing():
    image = np.random.default_rng(0).normal(size=(1, 4, 64)).astype(np.float32)
    usable = np.ones((4, 64), bool)
    usable[:, 30:33] = False
    spoilt = image.copy()
    spoilt[:, :, 30:33] = np.nan
    place = np.array([0, 1, 2]), np.array([26, 34, 60])
    same = [texture_features(("a",), pixels, usable, *place)["detail.a"] for pixels in (image, spoilt)]
    assert np.isfinite(same[0]).all() and np.array_equal(*same)
