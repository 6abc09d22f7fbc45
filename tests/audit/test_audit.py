"""From a map back to its data, and the same map again: by the commands that a person types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from click.testing import Result
from rasterio.windows import Window
from typer.testing import CliRunner

from pipelines.bundle.store import Bundle, open_bundle
from pipelines.cli.main import commands
from pipelines.errors import BadData
from pipelines.files import read_json, sha256, write_json
from pipelines.inference.ensemble import Ensemble
from pipelines.inference.item import ITEM
from pipelines.inference.mosaic import mosaic
from pipelines.inference.plan import map_shard, write_plan
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_file, of_scene
from pipelines.inference.runtime import Runtime
from pipelines.lineage.run import RUN
from pipelines.scenes.catalog import write_item
from pipelines.scenes.scene import Scene
from tests.builders import write_scene
from tests.bundle.trained import BANDS, bundle_folder

pytestmark = pytest.mark.slow
TILING = Tiling(window=64, overlap=16, batch=4, max_memory=16 * 10**9)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(bundle_folder())


@pytest.fixture(scope="module")
def runtime(bundle: Bundle) -> Runtime:
    return Runtime(bundle, threads=1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SWATH_REVISION", "c0ffee")
    return tmp_path / "home"


def pixels(seed: int = 0, side: int = 150) -> np.ndarray:
    """Patches of 8 pixels, so that the map has shapes."""
    coarse = np.random.default_rng(seed).integers(300, 6000, (3, side // 8 + 1, side // 8 + 1), dtype=np.uint16)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :side, :side]


def scene(catalog: Path, id: str = "scene", seed: int = 0, **how: Any) -> Scene:
    made = write_scene(catalog, pixels(seed), id=id, bands=BANDS, **how)
    write_item(catalog / "scenes" / id, made, fingerprint="f", dated=True, bands=[{}, {}, {}])
    return made


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


@pytest.fixture
def mapped(tmp_path: Path, catalog: Path, bundle: Bundle, runtime: Runtime) -> Path:
    """A map of a scene of the catalog with all that may be asked for."""
    raster = of_scene(scene(catalog), catalog, bundle.contract)
    also = ["probabilities", "entropy", "polygons"]
    predict(raster, bundle, runtime, tmp_path / "maps" / "scene", TILING, also=also, simplify=0.5)
    return tmp_path / "maps" / "scene"


def swath(*words: str | Path) -> Result:
    return CliRunner().invoke(commands(), [str(word) for word in words])


def explained(path: Path) -> dict[str, Any]:
    ran = swath("explain", path)
    if ran.exception:
        raise ran.exception
    return json.loads(ran.stdout)


def replayed(*words: str | Path) -> dict[str, Any]:
    """What the command says, whose status is that of the verdict."""
    ran = swath("replay", *words)
    if ran.exception and not ran.stdout:
        raise ran.exception
    said = json.loads(ran.stdout)
    assert said["agrees"] is (ran.exception is None)
    return said


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_any_file_of_a_map_leads_back_to_its_scene_model_code_and_run(tmp_path, catalog, bundle, runtime, monkeypatch):
    monkeypatch.setenv(RUN, "ingest_scenes/daily")
    one = scene(catalog)
    monkeypatch.setenv(RUN, "predict_scenes/daily")
    raster = of_scene(one, catalog, bundle.contract)
    predict(raster, bundle, runtime, tmp_path / "maps" / "scene", TILING, also=["polygons"])
    monkeypatch.delenv(RUN)
    folder = tmp_path / "maps" / "scene"
    found = explained(folder / "confidence.tif")
    for path in (folder, folder / "classes.parquet", folder / ITEM):
        assert explained(path) == found
    assert set(found["files"].values()) == {"as made"}
    (image,) = found["images"]
    assert (image["id"], image["sha256"], image["mask_sha256"]) == ("scene", one.image_sha256, one.mask_sha256)
    assert (image["run"], image["found"]) == ("ingest_scenes/daily", str(one.image_path(catalog)))
    made = found["made"]
    assert (made["run"], made["code"]["commit"], made["engine"]) == ("predict_scenes/daily", "c0ffee", runtime.engine)
    assert (made["window"], made["overlap"], made["batch"]) == (64, 16, 4)
    assert made["software"]["openvino"] and made["processor"]
    (model,) = found["models"]
    assert (model["sha256"], model["bundle"]) == (bundle.digest, str(bundle.folder))
    manifest = read_json(bundle.folder.parent / "workspace" / "data" / "manifest.json")
    assert [s["image_sha256"] for s in model["scenes"]] == [s["image_sha256"] for s in manifest["scenes"]]
    assert any("no MLflow store" in gap for gap in found["gaps"]), "what cannot be reached is said"
    assert not (tmp_path / "home" / "mlflow").exists(), "looking makes nothing"


def test_the_chain_is_one_of_stac_links(mapped, catalog, bundle):
    item = pystac.Item.from_file(mapped / ITEM)
    image, model = (pystac.Item.from_file(link.target) for link in item.links if link.rel == "derived_from")
    assert image.id == "scene" and image.assets["image"].extra_fields["file:checksum"].startswith("1220")
    assert model.properties["mlm:name"] == bundle.contract.project
    pinned = read_json(Path(model.assets["scenes"].get_absolute_href()))
    assert pinned["scenes"][0]["image_sha256"]
    assert item.properties["processing:software"]["openvino"]


def test_a_map_is_made_again_to_the_byte_and_left_as_it_was(mapped):
    before = contents(mapped)
    said = replayed(mapped / "classes.tif")
    assert said["agrees"], said
    assert {one["file"] for one in said["files"]} == set(before) - {ITEM}
    assert {one["verdict"] for one in said["files"]} == {"same"}
    assert contents(mapped) == before


def test_a_pixel_that_was_changed_is_found_and_located(mapped):
    with rasterio.open(mapped / "confidence.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as out:
        window = Window(40, 31, 2, 3)
        out.write(out.read(1, window=window) - 7, 1, window=window)
        bounds = rasterio.windows.bounds(window, out.transform)
    (gap,) = [gap for gap in explained(mapped)["gaps"] if "confidence.tif" in gap]
    assert "not as it was made" in gap
    said = replayed(mapped)
    verdicts = {one["file"]: one for one in said["files"]}
    found = verdicts.pop("confidence.tif")
    assert (found["verdict"], found["as_made"]) == ("different", True)
    assert found["share"] == pytest.approx(6 / 150**2) and found["largest"] == pytest.approx(0.07)
    assert (found["where"]["rows"], found["where"]["columns"]) == ([31, 34], [40, 42])
    assert found["where"]["bounds"] == pytest.approx(bounds)
    assert {one["verdict"] for one in verdicts.values()} == {"same"}
    assert "what lies here is not what was made" in said["verdict"]


def test_a_damaged_file_is_told_from_a_changed_one(mapped):
    path = mapped / "classes.tif"
    with rasterio.open(path) as source:
        block = int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    damaged = bytearray(path.read_bytes())
    damaged[block + 20 : block + 120] = bytes(100)
    path.write_bytes(damaged)
    found = next(one for one in replayed(mapped)["files"] if one["file"] == "classes.tif")
    assert (found["verdict"], found["share"], found["largest"], found["as_made"]) == ("unreadable", 1.0, None, True)


def test_a_scene_that_changed_or_went_is_refused_and_still_explained(mapped, catalog):
    image = catalog / "scenes" / "scene" / "image.tif"
    whole = image.read_bytes()
    image.write_bytes(whole + b"x")
    with pytest.raises(BadData, match="has changed since it was ingested"):
        replayed(mapped)
    found = explained(mapped)
    assert found["images"][0]["found"] is None and any("has changed since" in gap for gap in found["gaps"])
    scene(catalog, seed=1)  # ingested anew under its id
    with pytest.raises(BadData, match="not the one that was mapped: the sha256 of its pixels"):
        replayed(mapped)
    scene(catalog, offset=-0.1)  # the same pixels, read in another way
    with pytest.raises(BadData, match=r"their offset is \[-0.1, -0.1, -0.1\] now and was \[0.0, 0.0, 0.0\]"):
        replayed(mapped)
    shutil.rmtree(catalog)
    with pytest.raises(BadData, match="ingest it again"):
        replayed(mapped)
    assert explained(mapped)["images"][0]["sha256"]


def test_a_map_that_was_copied_is_explained_and_made_again(mapped, tmp_path):
    there = tmp_path / "elsewhere"
    there.mkdir()
    shutil.copy(mapped / ITEM, there)
    shutil.copy(mapped / "classes.tif", there / "of-the-coast.tif")
    found = explained(there / "of-the-coast.tif")
    assert found["files"]["classes.tif"] == "as made" and found["files"]["confidence.tif"] == "not here"
    assert found["images"] == explained(mapped)["images"] and found["models"] == explained(mapped)["models"]
    assert replayed(there / "of-the-coast.tif")["agrees"]
    (there / "other.tif").write_bytes(b"another file")
    with pytest.raises(BadData, match="is not a file of the map"):
        explained(there / "other.tif")


def test_a_raster_that_lost_its_item_says_what_made_it(mapped, tmp_path, bundle):
    alone = shutil.copy(mapped / "entropy.tif", tmp_path / "alone.tif")
    found = explained(alone)
    assert found["models"][0]["sha256"] == bundle.digest
    assert found["images"][0]["sha256"] == read_json(mapped / ITEM)["properties"]["swath:source_sha256"]
    assert "without its item.json" in found["gaps"][0]
    with pytest.raises(BadData, match="copy it there too"):
        replayed(alone)


def test_a_file_that_was_mapped_at_a_desk_may_have_moved(tmp_path, catalog, bundle, runtime):
    image = scene(catalog).image_path(catalog).rename(tmp_path / "field_N0208_R1.tif")
    raster = of_file(image, bundle.contract)
    predict(raster, bundle, runtime, tmp_path / "maps" / "field", TILING)
    assert replayed(tmp_path / "maps" / "field")["agrees"]
    moved = image.rename(tmp_path / "moved.tif")  # a name that no longer tells its processing baseline
    assert explained(tmp_path / "maps" / "field")["images"][0]["found"] is None
    with pytest.raises(BadData, match="is gone; say where it is now"):
        replayed(tmp_path / "maps" / "field")
    assert replayed(tmp_path / "maps" / "field", "--image", moved)["agrees"]
    other = write_scene(tmp_path / "b", pixels(3), bands=BANDS).image_path(tmp_path / "b")
    with pytest.raises(BadData, match="is not the file that was mapped"):
        replayed(tmp_path / "maps" / "field", "--image", other)


def test_a_bundle_is_found_by_its_hash_or_missed_in_a_sentence(tmp_path, catalog, home):
    folder = Path(shutil.copytree(bundle_folder(), tmp_path / "bundle"))
    bundle = open_bundle(folder)
    predict(of_scene(scene(catalog), catalog, bundle.contract), bundle, Runtime(bundle), tmp_path / "map", TILING)
    folder.rename(tmp_path / "gone")
    found = explained(tmp_path / "map")
    assert found["models"][0]["bundle"] is None and any("not to be found" in gap for gap in found["gaps"])
    with pytest.raises(BadData, match=f"contract {bundle_digest(tmp_path / 'gone')[:12]} is not to be found"):
        replayed(tmp_path / "map")
    shutil.copytree(tmp_path / "gone", home / "bundles" / bundle_digest(tmp_path / "gone"))
    assert replayed(tmp_path / "map")["agrees"]


def bundle_digest(folder: Path) -> str:
    return sha256(folder / "bundle.json")


def test_an_ensemble_names_all_its_models_and_is_made_again(tmp_path, catalog, bundle):
    second = Path(shutil.copytree(bundle_folder(), tmp_path / "second"))
    contract = read_json(second / "bundle.json")
    write_json(second / "bundle.json", contract | {"temperature": 1.0})
    both = [bundle, open_bundle(second)]
    raster = of_scene(scene(catalog), catalog, bundle.contract)
    predict(raster, bundle, Ensemble(both), tmp_path / "map", TILING)
    found = explained(tmp_path / "map")
    assert [one["sha256"] for one in found["models"]] == [one.digest for one in both]
    assert both[0].digest != both[1].digest
    said = replayed(tmp_path / "map")
    assert said["agrees"] and "disagreement.tif" in [one["file"] for one in said["files"]]


def test_a_mosaic_lists_its_maps_and_their_scenes_and_is_made_again(tmp_path, catalog, bundle, runtime):
    folders = []
    for number, id in enumerate(("west", "east")):
        one = scene(catalog, id, number, origin=(500_000.0 + 1_000 * number, 9_000_000.0))
        raster = of_scene(one, catalog, bundle.contract)
        predict(raster, bundle, runtime, tmp_path / id, TILING, also=["probabilities"])
        folders.append(tmp_path / id)
    mosaic(folders, tmp_path / "both", also=["polygons"])
    found = explained(tmp_path / "both" / "classes.tif")
    assert [(one["id"], one["kind"]) for one in found["images"]] == [("west", "map"), ("east", "map")]
    assert [one["images"][0]["id"] for one in found["images"]] == ["west", "east"]
    assert found["models"][0]["bundle"] == str(bundle.folder)
    said = replayed(tmp_path / "both")
    assert said["agrees"] and {one["file"] for one in said["files"]} >= {"classes.tif", "classes.parquet"}
    with (tmp_path / "east" / "probabilities.tif").open("ab") as out:
        out.write(b"x")
    with pytest.raises(BadData, match=r"is not the file that went into the mosaic; replay or restore Map east"):
        replayed(tmp_path / "both")
    assert any("is not the file that went into the mosaic" in gap for gap in explained(tmp_path / "both")["gaps"])
    shutil.rmtree(tmp_path / "west")
    assert any("Map west is no longer at" in gap for gap in explained(tmp_path / "both")["gaps"])


def test_other_circumstances_are_told_as_what_explains_a_difference(mapped):
    item = read_json(mapped / ITEM)
    item["properties"]["processing:software"]["openvino"] = "2019.1"
    item["properties"]["swath:provenance"] |= {"processor": "Another one", "window": 96}
    write_json(mapped / ITEM, item)
    said = replayed(mapped)
    assert not said["agrees"] and "as may be expected" in said["verdict"]
    changes = " ".join(said["changes"])
    assert "The processor was Another one" in changes and "openvino was 2019.1" in changes
    assert any(0 < (one["share"] or 0) < 1 for one in said["files"])


def test_a_map_of_a_shard_is_made_again_and_its_profile_left_alone(tmp_path, catalog, bundle):
    from dataclasses import replace

    one = scene(catalog)
    registered = replace(bundle, uri="models:/sample/3", version=3)
    write_plan(tmp_path / "maps", "run", 3, "models:/sample/3", bundle.digest, [one], 1)
    map_shard(tmp_path / "maps", "run", 0, [one], catalog, registered, 16 * 10**9)
    folder = tmp_path / "maps" / "v3" / "scene"
    (folder / "profile.bin").write_bytes(b"a profile")
    assert explained(folder / "profile.bin")["models"][0]["uri"] == "models:/sample/3"
    assert replayed(folder)["agrees"]


def test_the_new_map_can_be_kept_and_never_goes_over_one(mapped, tmp_path):
    assert replayed(mapped, "--keep", tmp_path / "kept")["agrees"]
    assert (tmp_path / "kept" / "scene" / "classes.tif").read_bytes() == (mapped / "classes.tif").read_bytes()
    with pytest.raises(BadData, match="exists already"):
        replayed(mapped, "--keep", tmp_path / "kept")
    with pytest.raises(BadData, match="is the map itself"):
        replayed(mapped, "--keep", mapped.parent)


def test_what_is_no_map_is_refused_in_a_sentence(tmp_path, catalog):
    with pytest.raises(BadData, match="does not exist"):
        explained(tmp_path / "nothing.tif")
    image = scene(catalog).image_path(catalog)
    with pytest.raises(BadData, match=r"no item\.json beside it, and its tags name no model"):
        explained(image)
    (tmp_path / ITEM).write_text('{"type": "Feature", "id": "x", "properties": {}, "assets": {}, "links": []}')
    with pytest.raises(BadData, match="is no item of a map that swath made"):
        explained(tmp_path / ITEM)
