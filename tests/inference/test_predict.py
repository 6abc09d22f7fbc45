"""Maps that people open: valid COGs with legend, mask and lineage, the same after any kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from typer.testing import CliRunner

from pipelines.bundle.store import open_bundle
from pipelines.cli.main import commands
from pipelines.errors import BadData, SwathError
from pipelines.inference import ensemble
from pipelines.inference import predict as module
from pipelines.inference.ensemble import Ensemble
from pipelines.inference.memory import parse_size
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_file, of_scene
from pipelines.inference.runtime import Runtime
from pipelines.inference.writer import MapWriter
from pipelines.monitoring.profile import SceneProfile
from tests.builders import write_scene
from tests.bundle.trained import BANDS, CLASSES, ROOT, TEMPERATURE, bundle_folder

pytestmark = pytest.mark.slow
TILING = Tiling(window=64, overlap=16, batch=4, max_memory=4 * 10**9)


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(bundle_folder())


@pytest.fixture(scope="module")
def runtime(bundle):
    return Runtime(bundle, threads=1)


def dn(height, width, seed=0):
    """Patches of 8 pixels, so that the map has shapes."""
    coarse = np.random.default_rng(seed).integers(300, 6000, (3, height // 8 + 1, width // 8 + 1), dtype=np.uint16)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


def scene_raster(folder, bundle, height=300, width=220):
    mask = np.zeros((height, width), np.uint8)
    mask[40:80, 30:90], mask[100:110, :] = 1, 2
    scene = write_scene(folder, dn(height, width), mask=mask, bands=BANDS)
    return scene, of_scene(scene, folder, bundle.contract), mask


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_maps_are_valid_cogs_with_overviews_legend_and_the_scenes_mask(tmp_path, bundle, runtime):
    _, raster, mask = scene_raster(tmp_path, bundle, 700, 600)
    mapped = predict(raster, bundle, runtime, tmp_path / "out", TILING)
    for name in ("classes.tif", "confidence.tif"):
        valid, errors, warnings = cog_validate(tmp_path / "out" / name, strict=True)
        assert valid, (errors, warnings)
        with rasterio.open(tmp_path / "out" / name) as made:
            assert made.crs == raster.crs and made.transform == raster.affine
            assert made.shape == (700, 600) and made.nodata == 255
            assert made.overviews(1) == [2]
            assert np.array_equal(made.read(1) == 255, mask != 0)
    with rasterio.open(tmp_path / "out" / "classes.tif") as made:
        assert set(np.unique(made.read(1))) <= {0, 1, 2, 255}
        assert made.colormap(1)[0] == (0x2F, 0x6F, 0xB0, 255)
        assert json.loads(made.tags(1)["classes"]) == dict(zip("012", CLASSES, strict=True))
        counts = np.bincount(made.read(1).ravel(), minlength=3)
    assert list(mapped.class_pixels.values()) == counts[:3].tolist()
    assert (counts[:3] > 0).sum() > 1, "the random network shows one class only: the test would see nothing"
    assert "<Category>forest</Category>" in (tmp_path / "out" / "classes.tif.aux.xml").read_text()
    assert not list(tmp_path.glob(".out*"))


def test_overviews_show_the_commonest_class_and_the_average_confidence(tmp_path, bundle, runtime):
    raster = of_scene(write_scene(tmp_path, dn(700, 600), bands=BANDS), tmp_path, bundle.contract)
    predict(raster, bundle, runtime, tmp_path / "out", TILING)
    cells = {}
    for name in ("classes.tif", "confidence.tif"):
        with (
            rasterio.open(tmp_path / "out" / name) as full,
            rasterio.open(tmp_path / "out" / name, overview_level=0) as half,
        ):
            fine = full.read(1).reshape(350, 2, 300, 2).transpose(0, 2, 1, 3).reshape(350, 300, 4)
            cells[name] = fine, half.read(1)
    fine, half = cells["classes.tif"]
    counts = np.stack([(fine == k).sum(axis=2) for k in range(3)])
    assert (np.take_along_axis(counts, half[None].astype(int), 0)[0] == counts.max(axis=0)).all()
    fine, half = cells["confidence.tif"]
    assert np.abs(fine.mean(axis=2) - half).max() <= 0.5


def test_maps_are_the_calibrated_argmax_of_the_network(tmp_path, bundle, runtime):
    pixels = dn(64, 64)
    raster = of_scene(write_scene(tmp_path, pixels, bands=BANDS), tmp_path, bundle.contract)
    predict(raster, bundle, runtime, tmp_path / "out", Tiling(64, 0, 1, TILING.max_memory))
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx")
    logits = session.run(None, {"pixels": (pixels * np.float32(1e-4))[None]})[0][0].astype(np.float64) / TEMPERATURE
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    with rasterio.open(tmp_path / "out" / "classes.tif") as made:
        assert (made.read(1) == probabilities.argmax(axis=0)).mean() > 0.999
    with rasterio.open(tmp_path / "out" / "confidence.tif") as made:
        assert made.scales == (0.01,)
        assert np.abs(made.read(1) - 100 * probabilities.max(axis=0)).max() <= 0.51


def test_item_links_model_dataset_and_scene(tmp_path, bundle, runtime):
    scene, raster, _ = scene_raster(tmp_path, bundle)
    predict(raster, bundle, runtime, tmp_path / "out", TILING, also=["polygons"])
    item = pystac.Item.from_file(tmp_path / "out" / "item.json")
    assert item.id == scene.id and item.datetime == scene.datetime
    assert np.allclose(item.bbox, scene.bbox, atol=1e-4)
    assert item.properties["swath:source_sha256"] == scene.image_sha256
    assert item.properties["swath:model"] == bundle.uri
    assert item.properties["swath:model_sha256"] == bundle.digest
    legend = item.assets["classes"].extra_fields["classification:classes"]
    assert [c["name"] for c in legend] == [*CLASSES, "nodata"]
    assert set(item.assets) == {"classes", "confidence", "polygons", "flatgeobuf"}
    assert [link.rel for link in item.links if link.rel == "derived_from"]


def test_probabilities_and_entropy_belong_to_the_classes_that_are_shown(tmp_path, bundle, runtime):
    _, raster, mask = scene_raster(tmp_path, bundle)
    predict(raster, bundle, runtime, tmp_path / "out", TILING, also=["probabilities", "entropy"])
    layers = {}
    for name in ("classes", "confidence", "probabilities", "entropy"):
        with rasterio.open(tmp_path / "out" / f"{name}.tif") as made:
            layers[name] = made.read()[:, mask == 0]
            assert made.nodata == 255 and (made.read()[:, mask != 0] == 255).all()
            assert cog_validate(tmp_path / "out" / f"{name}.tif", strict=True)[0]
            if name == "probabilities":
                assert made.descriptions == tuple(CLASSES)
    probabilities = layers["probabilities"] * 0.004
    assert np.allclose(probabilities.sum(axis=0), 1, atol=0.0061)
    chosen = np.take_along_axis(layers["probabilities"], layers["classes"].astype(int), axis=0)
    assert (chosen == layers["probabilities"].max(axis=0)).all()
    assert np.allclose(layers["confidence"] * 0.01, probabilities.max(axis=0), atol=0.0071)
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-9))).sum(axis=0) / np.log(3)
    assert np.allclose(layers["entropy"] * 0.01, entropy, atol=0.03)
    item = pystac.Item.from_file(str(tmp_path / "out" / "item.json"))
    assert set(item.assets) == set(layers)
    assert item.properties["swath:seams"]["score"] > 0


def test_a_model_beside_itself_gives_its_own_map_and_no_disagreement(tmp_path, bundle, runtime):
    _, raster, mask = scene_raster(tmp_path, bundle)
    predict(raster, bundle, runtime, tmp_path / "one", TILING)
    predict(raster, bundle, Ensemble([bundle, bundle]), tmp_path / "two", TILING, recorder=None)
    for name in ("classes", "confidence"):
        shown = []
        for folder in ("one", "two"):
            with rasterio.open(tmp_path / folder / f"{name}.tif") as made:
                shown.append(made.read().astype(int))
        apart = np.abs(shown[0] - shown[1])
        assert (apart > (name == "confidence")).mean() < 1e-3  # rounding decides a few
    with rasterio.open(tmp_path / "two" / "disagreement.tif") as made:
        shown = made.read(1)
        assert (shown[mask == 0] == 0).all() and (shown[mask != 0] == 255).all()
    item = json.loads((tmp_path / "two" / "item.json").read_text())
    assert item["properties"]["swath:ensemble"] == [bundle.uri, bundle.uri] and "disagreement" in item["assets"]


def test_disagreement_is_the_information_that_the_model_has_on_the_class(bundle, monkeypatch):
    answers = iter([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])

    class Sure:
        engine, calls, channels, digest, resident_bytes = "", 1, 3, "", 0

        def __init__(self, bundle):
            self.says = np.array(next(answers), np.float32)

        def __call__(self, pixels):
            return np.broadcast_to(self.says[None, :, None, None], (len(pixels), 3, *pixels.shape[2:]))

    monkeypatch.setattr(ensemble, "Runtime", Sure)
    found = Ensemble([bundle, bundle])(np.zeros((2, 3, 64, 64), np.float32))
    assert found.shape == (2, 4, 64, 64)
    assert np.allclose(found[:, :3, 0, 0], [0.475, 0.475, 0.05])
    single = -(0.9 * np.log(0.9) + 2 * 0.05 * np.log(0.05))
    together = -(2 * 0.475 * np.log(0.475) + 0.05 * np.log(0.05))
    assert np.allclose(found[:, 3], (together - single) / np.log(3), atol=1e-5)


def test_models_of_other_classes_are_not_averaged(bundle):
    classes = bundle.contract.classes[::-1]
    other = replace(bundle, contract=bundle.contract.model_copy(update={"classes": classes}))
    with pytest.raises(BadData, match="cannot be averaged: their classes are"):
        Ensemble([bundle, other])


def test_areas_are_those_of_the_ground_and_weighed_by_the_errors_of_the_test(tmp_path, bundle, runtime, monkeypatch):
    raster = of_scene(write_scene(tmp_path, dn(300, 220), bands=BANDS), tmp_path, bundle.contract)
    mapped = predict(raster, bundle, runtime, tmp_path / "out", TILING)
    monkeypatch.chdir(ROOT)
    answer = CliRunner().invoke(
        commands(), ["areas", str(bundle.folder), str(tmp_path / "out")], catch_exceptions=False
    )
    found = json.loads(answer.stdout.splitlines()[-1])["hectares"]
    for name, pixels in mapped.class_pixels.items():
        assert found[name]["mapped"] == pytest.approx(pixels * 0.01, rel=0.003)  # 10 m pixels, and UTM's own scale
    assert sum(one["value"] for one in found.values()) == pytest.approx(660, rel=0.003)
    least = min(found, key=lambda name: found[name]["mapped"])
    assert found[least]["value"] > found[least]["mapped"]  # what others are taken for it


def test_polygons_are_valid_and_cover_what_the_map_shows(tmp_path, bundle, runtime):
    _, raster, _ = scene_raster(tmp_path, bundle)
    mapped = predict(raster, bundle, runtime, tmp_path / "out", TILING, also=["polygons"])
    shapes = gpd.read_parquet(tmp_path / "out" / "classes.parquet")
    assert shapes.is_valid.all() and shapes.crs == raster.crs
    areas = shapes.area.groupby(shapes["class_name"]).sum()
    for name, pixels in mapped.class_pixels.items():
        assert areas.get(name, 0.0) == pytest.approx(pixels * 100)
    same = gpd.read_file(tmp_path / "out" / "classes.fgb")
    assert same.area.sum() == pytest.approx(shapes.area.sum()) and same.crs == shapes.crs
    assert sorted(same["class_name"]) == sorted(shapes["class_name"])


def test_simplified_polygons_have_fewer_corners_and_still_no_gap_and_no_overlap(tmp_path, bundle, runtime):
    raster = of_scene(write_scene(tmp_path, dn(200, 160), bands=BANDS), tmp_path, bundle.contract)
    found = {}
    for pixels in (0.0, 1.5):
        out = tmp_path / f"out-{pixels}"
        predict(raster, bundle, runtime, out, TILING, also=["polygons"], simplify=pixels)
        found[pixels] = gpd.read_parquet(out / "classes.parquet")
    exact, simple = found[0.0], found[1.5]
    assert len(exact) == len(simple) > 10 and simple.is_valid.all()
    assert simple.count_coordinates().sum() < 0.7 * exact.count_coordinates().sum()
    together = simple.union_all()
    assert simple.area.sum() == pytest.approx(together.area)  # no overlap
    assert together.area == pytest.approx(exact.union_all().area, rel=0.01)
    assert together.geom_type == "Polygon" and not together.interiors  # no gap
    assert exact.union_all().boundary.hausdorff_distance(together.boundary) < 40


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (65, 63)])
def test_rasters_of_any_size_are_mapped(tmp_path, bundle, runtime, height, width):
    raster = of_scene(write_scene(tmp_path, dn(height, width), bands=BANDS), tmp_path, bundle.contract)
    predict(raster, bundle, runtime, tmp_path / "out", TILING)
    with rasterio.open(tmp_path / "out" / "classes.tif") as made:
        assert made.shape == (height, width) and (made.read(1) < 3).all()


def test_a_scene_without_data_gives_an_empty_map(tmp_path, bundle, runtime):
    nothing = np.ones((90, 70), np.uint8)
    raster = of_scene(write_scene(tmp_path, dn(90, 70), mask=nothing, bands=BANDS), tmp_path, bundle.contract)
    mapped = predict(raster, bundle, runtime, tmp_path / "out", TILING)
    assert sum(mapped.class_pixels.values()) == 0
    with rasterio.open(tmp_path / "out" / "classes.tif") as made:
        assert (made.read(1) == 255).all()


class Counted:
    """A runtime that counts windows."""

    def __init__(self, runtime):
        self._runtime, self.windows, self.engine, self.calls = runtime, 0, runtime.engine, runtime.calls
        self.digest, self.channels = runtime.digest, runtime.channels

    def __call__(self, pixels):
        self.windows += len(pixels)
        return self._runtime(pixels)

    @property
    def resident_bytes(self):
        return self._runtime.resident_bytes

    def working_bytes(self, pixels):
        return self._runtime.working_bytes(pixels)


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.bundle.store import open_bundle
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_file
from pipelines.inference.runtime import Runtime

class Dying(Runtime):
    windows = 0
    def __call__(self, pixels):
        self.windows += len(pixels)
        if self.windows > 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(pixels)

folder, bundle = Path(sys.argv[1]), open_bundle(sys.argv[2])
raster = of_file(folder / "in_N0208_R1.tif", bundle.contract)
predict(raster, bundle, Dying(bundle, threads=1), folder / "out", Tiling(64, 16, 4, 4 * 10**9))
"""


def test_a_killed_run_goes_on_from_its_rows_to_the_same_bytes(tmp_path, bundle, runtime):
    scene, _, _ = scene_raster(tmp_path, bundle)
    (tmp_path / "in_N0208_R1.tif").write_bytes(scene.image_path(tmp_path).read_bytes())
    raster = of_file(tmp_path / "in_N0208_R1.tif", bundle.contract)
    at_once = Counted(runtime)
    predict(raster, bundle, at_once, tmp_path / "whole" / "out", TILING)

    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, bundle.folder], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    rest = Counted(runtime)
    predict(raster, bundle, rest, tmp_path / "out", TILING)
    assert 0 < rest.windows < at_once.windows - 4, "it started over"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole" / "out")
    assert not list(tmp_path.glob(".out*"))


# before and after the rows are on disk
@pytest.mark.parametrize(("owner", "moment"), [(MapWriter, "write"), (module, "report")])
def test_a_killed_raster_goes_on_with_its_rows_and_its_profile(tmp_path, bundle, runtime, monkeypatch, owner, moment):
    scene, raster, _ = scene_raster(tmp_path, bundle)

    def profile():
        return SceneProfile(BANDS, CLASSES, 500, (scene.height, scene.width), scene)

    at_once, rest = Counted(runtime), Counted(runtime)
    predict(raster, bundle, at_once, tmp_path / "whole", TILING, recorder=profile())
    calls = iter(range(100))
    real = getattr(owner, moment)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(owner, moment, lambda *a: 1 // 0 if next(calls) == 3 else real(*a))
        predict(raster, bundle, runtime, tmp_path / "out", TILING, recorder=profile())
    predict(raster, bundle, rest, tmp_path / "out", TILING, recorder=profile())
    assert 0 < rest.windows < at_once.windows - 4, "it started over"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert (tmp_path / "out" / "profile.bin").stat().st_size > 100


def test_what_a_kill_left_of_a_finished_map_is_not_taken_for_finished_rows(tmp_path, bundle, runtime, monkeypatch):
    _, raster, _ = scene_raster(tmp_path, bundle)
    real = module.shutil.rmtree
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):  # dies when the work folder shall go
        patched.setattr(module.shutil, "rmtree", lambda path, **how: real(path, **how) if how else 1 // 0)
        predict(raster, bundle, runtime, tmp_path / "out", TILING)
    (tmp_path / ".out.work" / "classes.tif").unlink()
    predict(raster, bundle, runtime, tmp_path / "out", TILING)
    assert not list(tmp_path.glob(".out*"))


def test_rows_finished_with_other_settings_are_not_used(tmp_path, bundle, runtime, monkeypatch):
    _, raster, _ = scene_raster(tmp_path, bundle)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(module, "report", lambda *_: 1 // 0)
        predict(raster, bundle, runtime, tmp_path / "out", Tiling(96, 32, 4, TILING.max_memory))
    assert (tmp_path / ".out.work" / "journal.json").exists()
    counted, fresh = Counted(runtime), Counted(runtime)
    predict(raster, bundle, counted, tmp_path / "out", TILING)
    predict(raster, bundle, fresh, tmp_path / "fresh", TILING)
    assert counted.windows == fresh.windows
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_two_processes_do_not_write_one_target(tmp_path, bundle, runtime):
    _, raster, _ = scene_raster(tmp_path, bundle)
    with module.alone_at(tmp_path / "out"), pytest.raises(SwathError, match="Another process"):
        predict(raster, bundle, runtime, tmp_path / "out", TILING)


def test_too_little_memory_is_refused_with_the_need(tmp_path, bundle, runtime):
    _, raster, _ = scene_raster(tmp_path, bundle)
    with pytest.raises(BadData, match=r"needs \d+ MB"):
        predict(raster, bundle, runtime, tmp_path / "out", Tiling(64, 16, 4, 10**6))


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 * 10**9), ("512 mb", 512 * 10**6), ("1.5GiB", 3 * 2**29), ("100", 100)]
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "2 parsecs", "-1GB", "0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(BadData, match="no amount of memory"):
        parse_size(text)


def test_windows_that_the_graph_does_not_take_are_refused(runtime):
    with pytest.raises(BadData, match="multiples of 32"):
        runtime(np.zeros((1, 3, 40, 64), np.float32))


def test_probabilities_do_not_depend_on_the_batch(runtime):
    pixels = np.random.default_rng(0).uniform(0, 1, (5, 3, 64, 64)).astype(np.float32)
    together = runtime(pixels)
    one_by_one = np.concatenate([runtime(pixels[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
