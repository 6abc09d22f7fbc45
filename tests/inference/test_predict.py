"""Maps that people open: valid COGs with legend, mask and lineage."""

from __future__ import annotations

import dataclasses
import json

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from rio_cogeo.cogeo import cog_validate
from typer.testing import CliRunner

from pipelines.cli.main import commands
from pipelines.config.params import LabelClass
from pipelines.errors import BadData
from pipelines.inference.memory import parse_size, share
from pipelines.inference.polygons import write_polygons
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_scene
from pipelines.inference.windows import Axis
from tests.builders import write_scene
from tests.bundle.trained import BANDS, CLASSES, ROOT, TEMPERATURE
from tests.inference.maps import TILING, dn, scene_raster

pytestmark = pytest.mark.slow


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
    predict(dataclasses.replace(raster, id="again"), bundle, runtime, tmp_path / "again", TILING)
    with pytest.raises(BadData, match="same ground"):
        CliRunner().invoke(
            commands(),
            ["areas", str(bundle.folder), str(tmp_path / "out"), str(tmp_path / "again")],
            catch_exceptions=False,
        )
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


@pytest.mark.parametrize("processors", [1, 4, 64])
def test_as_many_processors_work_as_the_memory_is_enough_for(processors):
    class Worker:
        calls, resident_bytes, free_bytes = processors, 400 * 10**6, None

        def working_bytes(self, pixels):
            return 1200 * pixels

    axes = {"down": Axis(10_980, 256, 64), "across": Axis(10_980, 256, 64)}
    image = {"bands": 6, "width": 10_980, "classes": 6, "block_row": 70 * 10**6}
    given = share(2 * 10**9, Worker(), **image, **axes, batch=8)
    assert given.calls == min(processors, 8) or 4 < given.calls < 64
    assert given.batch == 8 if processors == 1 else given.batch >= 1
    busy = given.calls * given.batch * Worker().working_bytes(256 * 256)
    assert given.kernel + given.cache + busy + Worker.resident_bytes <= 2 * 10**9


def test_a_gpu_takes_as_many_windows_as_its_own_memory_is_enough_for():
    class Worker:
        calls, resident_bytes, free_bytes = 1, 3 * 10**9, 0

        def working_bytes(self, pixels):
            return 1200 * pixels

    axes = {"down": Axis(10_980, 256, 64), "across": Axis(10_980, 256, 64)}
    image = {"bands": 6, "width": 10_980, "classes": 6, "block_row": 70 * 10**6}
    given = {}
    for Worker.free_bytes in (80 * 10**9, 2 * 10**9):
        found = share(2 * 10**9, Worker(), **image, **axes, batch=64)
        given[Worker.free_bytes] = found.batch
        assert found.kernel + found.batch * Worker().working_bytes(256 * 256) <= Worker.free_bytes
    assert given[80 * 10**9] == 64 > given[2 * 10**9] >= 1
    Worker.free_bytes = 10**8
    with pytest.raises(BadData, match="of the GPU's memory"):
        share(2 * 10**9, Worker(), **image, **axes, batch=8)


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


def test_a_map_at_a_desk_takes_the_place_of_nothing_but_a_map(tmp_path, bundle):
    write_scene(tmp_path, dn(64, 64), bands=BANDS)
    image = (tmp_path / "scenes" / "scene" / "image.tif").rename(tmp_path / "one.tif")
    with rasterio.open(image, "r+") as out:
        out.scales, out.offsets = (1e-4,) * out.count, (-0.1,) * out.count
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "original.jp2").write_text("raw")
    # the budget counts what else the tests of this process hold
    arguments = ["predict", str(bundle.folder), str(image), "--max-memory", "16GB", "--out"]
    told = CliRunner().invoke(commands(), [*arguments, str(tmp_path)])
    assert "holds something that is no map" in str(told.exception)
    assert (tmp_path / "one" / "original.jp2").read_text() == "raw"
    for _ in range(2):
        assert CliRunner().invoke(commands(), [*arguments, str(tmp_path / "maps")]).exit_code == 0
    assert (tmp_path / "maps" / "one" / "item.json").exists()


def test_outlines_of_a_turned_raster_are_simplified_too(tmp_path):
    classes = np.random.default_rng(0).integers(0, 2, (60, 60)).astype(np.uint8)
    corners = {}
    for name, transform in (("up", Affine(10, 0, 0, 0, -10, 0)), ("turned", Affine(0, 10, 0, 10, 0, 0))):
        (tmp_path / name).mkdir()
        grid = {"driver": "GTiff", "width": 60, "height": 60, "count": 1, "dtype": "uint8", "crs": "EPSG:32721"}
        with rasterio.open(tmp_path / name / "classes.tif", "w", transform=transform, nodata=255, **grid) as out:
            out.write(classes, 1)
        legend = [LabelClass(name=n, value=i, color="#102030") for i, n in enumerate("ab")]
        write_polygons(tmp_path / name / "classes.tif", tmp_path / name, legend, 3.0)
        frame = gpd.read_parquet(next((tmp_path / name).glob("*.parquet")))
        corners[name] = int(frame.geometry.count_coordinates().sum())
    assert corners["turned"] == pytest.approx(corners["up"], rel=0.1)
