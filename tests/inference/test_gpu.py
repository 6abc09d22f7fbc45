"""The way over PyTorch's tensors, which a GPU takes, on the processors of any machine: the same maps."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.inference import runtime as runtimes
from pipelines.inference.arrays import host
from pipelines.inference.ensemble import Ensemble
from pipelines.inference.gpu import gpu
from pipelines.inference.predict import PROFILE, Tiling, predict
from pipelines.inference.raster import RasterSource, of_file
from pipelines.inference.runtime import Runtime
from pipelines.inference.stitch import memory_need, stitched
from pipelines.inference.windows import Axis
from pipelines.monitoring.profile import SceneProfile, read_profile
from tests.bundle.trained import BANDS, CLASSES
from tests.inference.maps import TILING, contents, scene_raster
from tests.inference.pretended import Pretended
from tests.inference.test_stitch import ArraySource, contextual, noise, run


@pytest.fixture
def tensors(bundle, monkeypatch):
    """A runtime that works on tensors."""
    monkeypatch.setattr(runtimes, "gpu", Pretended)
    return Runtime(bundle)


class TensorSource(ArraySource):
    def read(self, rows):
        pixels, mask = super().read(rows)
        return torch.from_numpy(pixels.copy()), mask


def on_tensors(predictor):
    return lambda chips: torch.from_numpy(predictor(chips.numpy()))


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 90),
    window=st.sampled_from([(8, 0), (20, 7), (32, 16), (80, 30)]),
    batch=st.integers(1, 9),
    data=st.data(),
)
def test_the_kernel_gives_the_same_values_on_tensors_read_ahead_or_not_and_resumed(height, width, window, batch, data):
    pixels = noise(height, width)
    mask = (np.random.default_rng(1).random((height, width)) < 0.2).astype(np.uint8)
    options = {"window": window[0], "overlap": window[1], "batch": batch}
    expected = run(ArraySource(pixels, mask), contextual, **options)
    at = data.draw(st.integers(0, len(expected) - 1))
    for read_ahead in (False, True):
        source = TensorSource(pixels, mask)
        start = expected[at].rows.start
        found = run(source, on_tensors(contextual), **options, read_ahead=read_ahead, start=start)
        assert [band.rows for band in found] == [band.rows for band in expected[at:]]
        for one, other in zip(found, expected[at:], strict=True):
            assert np.array_equal(one.pixels.numpy(), other.pixels) and np.array_equal(one.mask, other.mask)
            assert np.allclose(one.probabilities.numpy(), other.probabilities, atol=1e-6)
        assert isinstance(found[0].probabilities, torch.Tensor)


class Slow(TensorSource):
    """Takes a while to read, and tells when it is closed too early."""

    reading = 0

    def read(self, rows):
        self.reading += 1
        time.sleep(0.05)
        found = super().read(rows)
        self.reading -= 1
        return found


def failing(chips):
    raise RuntimeError("CUDA out of memory")


@pytest.mark.parametrize("fault", ["network", "consumer"])
def test_after_an_error_nothing_is_being_read_any_more(fault):
    source, before = Slow(noise(300, 40)), threading.active_count()
    given = {"classes": 3, "fill": [0.0, 0.0], "down": Axis(300, 32, 8), "across": Axis(40, 32, 8), "batch": 1}
    given |= {"max_memory": 10**9, "read_ahead": True}
    with (
        pytest.raises(RuntimeError, match="CUDA out of memory"),
        closing(stitched(source, failing if fault == "network" else on_tensors(contextual), **given)) as bands,
    ):
        try:
            for _ in bands:
                failing(None)
        finally:
            bands.close()  # as `predict` does before it closes the file
            assert source.reading == 0 and threading.active_count() <= before


def test_ground_without_data_is_not_read_far_ahead():
    source = TensorSource(noise(3000, 200), np.ones((3000, 200), np.uint8))
    given = {"classes": 3, "fill": [0.0, 0.0], "down": Axis(3000, 64, 16), "across": Axis(200, 64, 16), "batch": 1}
    need = memory_need(2, 200, **{k: v for k, v in given.items() if k != "fill"}, read_ahead=True)
    bands = stitched(source, on_tensors(contextual), **given, max_memory=need, read_ahead=True)
    for done, band in enumerate(bands):
        time.sleep(0.001)
        assert len(source.reads) <= done + 5, "rows would be held that nobody has counted"
        assert band.mask.all()


def test_when_a_map_fails_nobody_reads_the_image_any_more(tmp_path, bundle, tensors, monkeypatch):
    scene, raster, _ = scene_raster(tmp_path, bundle)
    reading, closed, block, leave = [], [], RasterSource.block, RasterSource.__exit__
    called, late, gone = threading.Event(), threading.Event(), threading.Event()

    def slow(source, window):
        reading.append(window)
        if called.is_set():
            late.set()
            gone.wait(1.5)  # reading takes so long that whoever does not wait for it has gone on
        found = block(source, window)
        reading.pop()
        return found

    def left(source, *error):
        closed.append(len(reading))
        gone.set()
        leave(source, *error)

    class Failing(SceneProfile):
        def __call__(self, *band):
            called.set()
            late.wait(60)
            raise OSError("No space left on device")

    monkeypatch.setattr(RasterSource, "block", slow)
    monkeypatch.setattr(RasterSource, "__exit__", left)
    full = Failing(BANDS, CLASSES, 2_000, (scene.height, scene.width), scene)
    with pytest.raises(OSError, match="No space left"):
        predict(raster, bundle, tensors, tmp_path / "map", TILING, recorder=full)
    assert closed == [0]


def levels(folder, name):
    with rasterio.open(folder / name) as made:
        return made.read().astype(int)


def recorder(scene):
    return SceneProfile(BANDS, CLASSES, 2_000, (scene.height, scene.width), scene)


def test_a_map_made_on_tensors_is_the_processors_own(tmp_path, bundle, runtime, tensors):
    scene, raster, mask = scene_raster(tmp_path, bundle)
    also = ["probabilities", "entropy"]
    predict(raster, bundle, runtime, tmp_path / "one", TILING, recorder=recorder(scene), also=also)
    predict(raster, bundle, tensors, tmp_path / "two", TILING, recorder=recorder(scene), also=also)
    predict(raster, bundle, tensors, tmp_path / "three", TILING, recorder=recorder(scene), also=also)
    assert set(contents(tmp_path / "one")) == set(contents(tmp_path / "two"))
    for name in ("classes.tif", "confidence.tif", "probabilities.tif", "entropy.tif"):
        one, two = levels(tmp_path / "one", name), levels(tmp_path / "two", name)
        assert (np.abs(one - two) > (name != "classes.tif")).mean() < 1e-3  # rounding decides a few
        assert (two[:, mask != 0] == 255).all() and (two[:, mask == 0] != 255).all()
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    seen = [read_profile(tmp_path / folder / PROFILE).view.to_pandas() for folder in ("one", "two")]
    assert list(seen[0].index) == list(seen[1].index)
    for column in ("counts/n", "distribution/mean", "distribution/stddev"):
        assert np.allclose(seen[0][column].fillna(0), seen[1][column].fillna(0), atol=1e-4)
    assert "torch cpu f32" in (tmp_path / "two" / "item.json").read_text()


def test_a_file_with_holes_and_no_numbers_is_masked_alike(tmp_path, bundle, runtime, tensors):
    pixels = np.random.default_rng(0).uniform(0.05, 0.5, (3, 90, 70)).astype(np.float32)
    pixels[0, 10:20, 5:30], pixels[1, 50, 50], pixels[2, 60, 60] = np.nan, np.inf, 3e33
    grid = {"driver": "GTiff", "count": 3, "height": 90, "width": 70, "dtype": "float32", "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "made.tif", "w", **grid, transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5e6)) as out:
        out.write(pixels)
        out.descriptions = BANDS
    raster = of_file(tmp_path / "made.tif", bundle.contract)
    for name, worker in (("one", runtime), ("two", tensors)):
        predict(raster, bundle, worker, tmp_path / name, TILING)
    holes = [levels(tmp_path / name, "classes.tif") == 255 for name in ("one", "two")]
    assert np.array_equal(*holes) and holes[0].sum() == 10 * 25 + 2


def test_views_and_ensembles_are_averaged_there(bundle, runtime, tensors, monkeypatch):
    pixels = np.random.default_rng(0).uniform(0, 0.5, (2, 3, 64, 64)).astype(np.float32)
    eight = bundle.__class__(bundle.folder, bundle.contract.model_copy(update={"views": 8}), bundle.uri)
    turned = Runtime(eight)(pixels)
    both = Ensemble([bundle, eight])(pixels)
    assert isinstance(turned, torch.Tensor) and both.shape == (2, 4, 64, 64)
    monkeypatch.setattr(runtimes, "gpu", lambda: None)
    assert np.allclose(host(turned), Runtime(eight)(pixels), atol=1e-4)
    assert np.allclose(host(both), Ensemble([bundle, eight])(pixels), atol=1e-4)


def test_bfloat16_is_computed_only_where_the_bundle_allows_it(tmp_path, bundle, runtime, tensors, monkeypatch):
    _, raster, _ = scene_raster(tmp_path, bundle)
    monkeypatch.setattr(Pretended, "has_bf16", True)
    allowed = bundle.__class__(bundle.folder, bundle.contract.model_copy(update={"bf16": True}), bundle.uri)
    assert (Runtime(allowed).engine, Runtime(bundle).engine) == ("torch cpu bf16", "torch cpu f32")
    predict(raster, bundle, runtime, tmp_path / "one", TILING)
    predict(raster, allowed, Runtime(allowed), tmp_path / "two", TILING)
    apart = np.abs(levels(tmp_path / "one", "confidence.tif") - levels(tmp_path / "two", "confidence.tif"))
    assert apart.max() > 0 and (apart > 3).mean() < 1e-2


def test_a_gpu_is_given_larger_batches_unless_a_person_says_how_many(bundle, runtime, tensors):
    contract = bundle.contract
    assert Tiling.of(contract, runtime, 10**9).batch == contract.batch
    assert Tiling.of(contract, tensors, 10**9, window=256).batch == 64
    assert Tiling.of(contract, tensors, 10**9, window=256, batch=3).batch == 3


def test_whoever_asks_for_a_precision_is_answered_by_processors(bundle, tensors):
    assert tensors.device == "cpu" and Runtime(bundle, precision="f32").device is None


@pytest.mark.skipif(gpu() is None, reason="this machine has no GPU")
def test_a_gpu_gives_the_processors_map(tmp_path, bundle, runtime):
    scene, raster, _ = scene_raster(tmp_path, bundle, 700, 600)
    predict(raster, bundle, Runtime(bundle, precision="f32"), tmp_path / "one", TILING, recorder=recorder(scene))
    for name in ("two", "three"):
        predict(raster, bundle, Runtime(bundle), tmp_path / name, TILING, recorder=recorder(scene))
    apart = np.abs(levels(tmp_path / "one", "confidence.tif") - levels(tmp_path / "two", "confidence.tif"))
    assert (apart > 1).mean() < 1e-2
    for name in ("classes.tif", "confidence.tif"):
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
