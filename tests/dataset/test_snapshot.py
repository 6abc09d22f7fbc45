from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipelines.dataset.snapshot import overlaps, read_manifest, take_snapshot
from pipelines.errors import BadData
from pipelines.scenes.quarantine import put
from tests.builders import write_scene
from tests.dataset.conftest import Town
from tests.dataset.town import HERE, params, write_labels, write_town


def write_mask(folder: Path, name: str, shape: tuple[int, int]) -> None:
    folder.mkdir(exist_ok=True)
    values = np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)
    grid = {"crs": "EPSG:32721", "transform": Affine(10, 0, HERE[0], 0, -10, HERE[1])}
    with rasterio.open(
        folder / f"{name}.tif", "w", driver="GTiff", count=1, dtype="uint8", height=shape[0], width=shape[1], **grid
    ) as out:
        out.write(values, 1)


def test_the_manifest_pins_scenes_and_labels_and_holds_no_path_of_this_machine(town: Town) -> None:
    text = (town.data / "manifest.json").read_text()
    assert str(town.catalog.parent) not in text and town.params.labels.source not in text
    manifest = read_manifest(town.data / "manifest.json")
    assert [s.id for s in manifest.scenes] == ["here-a", "here-b", "there"]
    assert [f.path for f in manifest.labels] == ["parcels.gpkg"]
    copied = town.data / "labels" / "parcels.gpkg"
    assert copied.read_bytes() == Path(town.params.labels.source).read_bytes()
    assert manifest.labels[0].size == copied.stat().st_size


def test_a_new_scene_without_labels_leaves_the_bytes_alone(tmp_path: Path) -> None:
    values = params(write_labels(tmp_path / "parcels.gpkg"))
    scenes = write_town(tmp_path / "catalog")
    take_snapshot(scenes, tmp_path / "catalog", values, tmp_path / "data")
    former = (tmp_path / "data" / "manifest.json").read_bytes()
    far = write_scene(tmp_path / "catalog", np.ones((2, 64, 64), np.uint16), id="far", origin=(600_000, 9_100_000))
    hidden = np.full((64, 64), 1, np.uint8)  # over the labels, and without data
    dark = write_scene(tmp_path / "catalog", np.ones((2, 64, 64), np.uint16), id="dark", origin=HERE, mask=hidden)
    take_snapshot([far, dark, *reversed(scenes)], tmp_path / "catalog", values, tmp_path / "data")
    assert (tmp_path / "data" / "manifest.json").read_bytes() == former


def test_settled_ground_is_pinned_so_that_another_file_makes_another_split(tmp_path: Path) -> None:
    labels, catalog = write_labels(tmp_path / "parcels.gpkg"), tmp_path / "catalog"
    scenes, keep = write_town(catalog), tmp_path / "keep.gpkg"
    manifests = []
    for content in (None, b"one", b"two"):
        if content:
            keep.write_bytes(content)
        values = params(labels, split={"keep": str(keep) if content else None})
        take_snapshot(scenes, catalog, values, tmp_path / "data")
        manifests.append((tmp_path / "data" / "manifest.json").read_text())
    assert len(set(manifests)) == 3 and "kept" not in manifests[0]
    keep.unlink()
    with pytest.raises(BadData, match=r"keep\.gpkg does not exist"):
        take_snapshot(scenes, catalog, values, tmp_path / "data")


def test_a_mask_of_another_shape_leaves_its_scene_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    catalog, masks = tmp_path / "catalog", tmp_path / "masks"
    pixels = np.ones((2, 64, 64), np.uint16)
    scenes = [write_scene(catalog, pixels, id=id, origin=HERE) for id in ("good", "bad", "other")]
    write_mask(masks, "good", (64, 64))
    write_mask(masks, "bad", (64, 67))
    write_mask(masks, "unused", (64, 64))
    manifest = take_snapshot(scenes, catalog, params(masks), tmp_path / "data")
    assert [s.id for s in manifest.scenes] == ["good"]
    assert [e.scene for e in manifest.excluded] == ["bad"]
    assert "67 x 64" in manifest.excluded[0].reason and "64 x 64" in manifest.excluded[0].reason
    assert [f.path for f in manifest.labels] == ["good.tif"]
    assert [p.name for p in (tmp_path / "data" / "labels").iterdir()] == ["good.tif"]


def test_a_scene_outside_the_dataset_over_ground_inside_is_told(tmp_path: Path) -> None:
    catalog, masks = tmp_path / "catalog", tmp_path / "masks"
    pixels, east = np.ones((2, 64, 64), np.uint16), (HERE[0] + 320, HERE[1])
    far = (HERE[0] + 6400, HERE[1])
    scenes = [
        write_scene(catalog, pixels, id="labelled", origin=HERE),
        write_scene(catalog, pixels, id="copy", origin=HERE),
        write_scene(catalog, pixels, id="half", origin=east),
        write_scene(catalog, pixels, id="far", origin=far),
    ]
    write_mask(masks, "labelled", (64, 64))
    manifest = take_snapshot(scenes, catalog, params(masks), tmp_path / "data")
    copy, half = overlaps(scenes, manifest)
    assert "Scene copy" in copy and "100% of it is ground of labelled" in copy
    assert "Scene half" in half and "50% of it is ground of labelled" in half


def test_match_restricts_the_scenes(tmp_path: Path) -> None:
    values = params(write_labels(tmp_path / "parcels.gpkg"), labels={"match": "here-*"})
    manifest = take_snapshot(write_town(tmp_path / "catalog"), tmp_path / "catalog", values, tmp_path / "data")
    assert [s.id for s in manifest.scenes] == ["here-a", "here-b"]


def test_scenes_of_two_pixel_types_are_refused(tmp_path: Path) -> None:
    values = params(write_labels(tmp_path / "parcels.gpkg"))
    a = write_scene(tmp_path / "catalog", np.ones((2, 64, 64), np.uint16), id="a", origin=HERE)
    b = write_scene(tmp_path / "catalog", np.ones((2, 64, 64), np.float32), id="b", origin=HERE)
    with pytest.raises(BadData, match="b is float32 and scene a is uint16"):
        take_snapshot([a, b], tmp_path / "catalog", values, tmp_path / "data")


def test_scenes_smaller_than_a_chip_are_left_out_and_told_of(tmp_path: Path) -> None:
    scenes = write_town(tmp_path / "catalog")
    values = params(write_labels(tmp_path / "parcels.gpkg"))
    narrow = write_scene(tmp_path / "catalog", np.ones((2, 16, 64), np.uint16), id="narrow", origin=HERE)
    manifest = take_snapshot([*scenes, narrow], tmp_path / "catalog", values, tmp_path / "data")
    assert [(one.scene, "fewer than a chip" in one.reason) for one in manifest.excluded] == [("narrow", True)]


def test_scenes_of_two_units_are_refused(tmp_path: Path) -> None:
    values = params(write_labels(tmp_path / "parcels.gpkg"))
    a, b = (write_scene(tmp_path / "catalog", np.ones((2, 64, 64), np.uint16), id=id, origin=HERE) for id in "ab")
    b = b.model_copy(update={"bands": (b.bands[0], b.bands[1].model_copy(update={"units": "radiance"}))})
    with pytest.raises(BadData, match="b and scene a have B02 in different units"):
        take_snapshot([a, b], tmp_path / "catalog", values, tmp_path / "data")


def test_scenes_with_other_bands_than_asked_are_refused(tmp_path: Path) -> None:
    values = params(write_labels(tmp_path / "parcels.gpkg"))
    scene = write_scene(tmp_path / "c", np.ones((2, 64, 64), np.uint16), id="a", origin=HERE, bands=("B02", "B01"))
    with pytest.raises(BadData, match="B02, B01"):
        take_snapshot([scene], tmp_path / "c", values, tmp_path / "data")


def test_an_empty_catalog_says_to_ingest(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="run ingestion first"):
        take_snapshot([], tmp_path, params(tmp_path), tmp_path / "data")


def test_a_catalog_of_which_all_is_in_quarantine_says_why(tmp_path: Path) -> None:
    for id in "abcde":
        put(tmp_path, id=id, source="s", stage="validate", reason="B02 is far too bright.", fingerprint=id)
    told = r"all 5 that were found are in quarantine[^$]*a: B02 is far too bright\.[^$]*2 more"
    with pytest.raises(BadData, match=told):
        take_snapshot([], tmp_path, params(tmp_path), tmp_path / "data")


def test_labels_that_meet_no_scene_are_refused(tmp_path: Path) -> None:
    values = params(write_labels(tmp_path / "parcels.gpkg"))
    far = write_scene(tmp_path / "c", np.ones((2, 64, 64), np.uint16), id="far", origin=(600_000, 9_100_000))
    with pytest.raises(BadData, match=r"called far; .* labels\.source"):
        take_snapshot([far], tmp_path / "c", values, tmp_path / "data")
