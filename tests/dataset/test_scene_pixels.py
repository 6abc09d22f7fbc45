"""Chips whose images stay in the catalog's COGs are in every respect those that were written out."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli.main import commands
from pipelines.dataset.chips import cut_chips
from pipelines.dataset.crop import Crop
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.statistics import train_statistics
from pipelines.errors import BadData
from pipelines.files import read_json, sha256, write_json
from pipelines.scenes.catalog import write_index, write_item
from tests.builders import write_scene
from tests.dataset.conftest import Town
from tests.dataset.town import HERE, params, write_labels, write_town

STAGES = ("snapshot", "split", "chip", "validate", "statistics", "profile", "train", "evaluate")


def files(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): sha256(f) for f in sorted(folder.rglob("*")) if f.is_file()}


def cut(town: Town, target: Path, pixels: str, task: str = "segmentation") -> Path:
    chips = town.params.chips.model_copy(update={"pixels": pixels})
    values = town.params.model_copy(update={"chips": chips, "task": task})
    cut_chips(town.plan, town.manifest, town.catalog, town.data / "labels", values, target)
    return target


@pytest.fixture
def chips(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The town's chips without images, and its catalog where this machine has its catalogs."""
    (tmp_path / "catalogs").mkdir()
    shutil.copytree(town.catalog, tmp_path / "catalogs" / town.params.project)
    monkeypatch.setenv("SWATH_CATALOG", str(tmp_path / "catalogs"))
    return cut(town, tmp_path / "chips", "scenes")


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_only_the_images_are_left_out(town: Town, tmp_path: Path, task: str) -> None:
    written, left = (files(cut(town, tmp_path / pixels, pixels, task)) for pixels in ("shards", "scenes"))
    assert ("boxes.parquet" in left) == (task == "detection")
    images = {name for name in written if name.endswith(".images.npy")}
    assert images and set(written) - set(left) == images and set(left) - set(written) == {"scenes.json"}
    assert all(left[name] == written[name] for name in set(written) - images)


@pytest.mark.parametrize("side", [None, 19])
def test_windows_of_scenes_are_the_pixels_of_shards_in_any_order(town: Town, chips: Path, side: int | None) -> None:
    written, left = ChipStore(town.data / "chips"), ChipStore(chips)
    random = np.random.default_rng(0)
    rows = random.integers(len(written), size=2 * len(written))  # some of them twice, from all scenes
    crop = Crop(random.integers(32 - side + 1, size=(len(rows), 2)), side) if side else None
    travelled = pickle.loads(pickle.dumps(left))
    for expected, found, again in zip(*(s.gather(rows, crop) for s in (written, left, travelled)), strict=True):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected) and np.array_equal(again, expected)
    assert left.gather(rows[:0])[0].shape == written.gather(rows[:0])[0].shape
    assert train_statistics(left) == train_statistics(written)


def test_several_threads_may_ask_at_once(town: Town, chips: Path) -> None:
    written, left = ChipStore(town.data / "chips"), ChipStore(chips)
    random = np.random.default_rng(0)
    batches = [random.integers(len(written), size=5) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for rows, (found, *_) in zip(batches, pool.map(left.gather, batches), strict=True):
            assert np.array_equal(found, written.gather(rows)[0])


def test_a_scene_that_is_not_what_it_was_is_not_read(town: Town, chips: Path) -> None:
    catalog = chips.parent / "catalogs" / town.params.project
    write_scene(catalog, np.ones((2, 512, 512), np.uint16), id="here-a", origin=HERE)
    store = ChipStore(chips)
    of = store.index["scene_id"] == "here-a"
    store.gather(np.flatnonzero(~of))  # the others are as they were
    with pytest.raises(BadData, match=r"here-a/image\.tif has changed"):
        store.gather(np.flatnonzero(of)[:1])


def test_a_scene_that_is_replaced_while_its_file_is_closed_is_compared_again(
    town: Town, chips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.dataset.scene_pixels._OPEN", 1)
    store = ChipStore(chips)
    of = {id: np.flatnonzero(store.index["scene_id"] == id) for id in store.index["scene_id"].unique()}
    before = store.gather(of["here-a"])[0]
    path = town.manifest.scene("here-a").image_path(chips.parent / "catalogs" / town.params.project)
    content = path.read_bytes()
    for bytes_, same in ((content, True), (content[:-1] + bytes([content[-1] ^ 1]), False)):
        store.gather(np.concatenate([rows for id, rows in of.items() if id != "here-a"]))  # which closes that one
        path.with_suffix(".new").write_bytes(bytes_)
        path.with_suffix(".new").replace(path)
        if same:
            assert np.array_equal(store.gather(of["here-a"])[0], before)
        else:
            with pytest.raises(BadData, match=r"here-a/image\.tif has changed"):
                store.gather(of["here-a"])


def test_many_scenes_take_no_more_files_than_a_process_may_open(chips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
    store = ChipStore(chips)
    store.gather(np.array([0]))
    most = [opener.cache_parameters()["maxsize"] for opener in store._images._openers]
    assert len(most) == 16 and sum(most) <= 512


def test_a_block_that_cannot_be_read_is_never_replaced_by_anything(town: Town, chips: Path) -> None:
    path = town.manifest.scene("there").image_path(chips.parent / "catalogs" / town.params.project)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    pinned = read_json(chips / "scenes.json")
    for scene in pinned["scenes"]:
        scene["image_sha256"] = sha256(path) if scene["id"] == "there" else scene["image_sha256"]
    write_json(chips / "scenes.json", pinned)
    with pytest.raises(BadData, match="there cannot be read"):
        ChipStore(chips).gather(np.arange(len(ChipStore(chips))))


def test_without_the_catalog_it_says_what_to_set(chips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_CATALOG", str(chips.parent / "elsewhere"))
    store = ChipStore(chips)
    assert len(store.index) and store.labels(0).shape == (32, 32)  # these need none
    with pytest.raises(BadData, match="Set SWATH_CATALOG"):
        store.gather(np.array([0]))


@pytest.mark.slow
def test_the_stages_from_chips_to_metrics_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWATH_REVISION", "c0ffee")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    catalog = tmp_path / "home" / "catalog" / "sample"
    for scene in write_town(catalog):
        write_item(catalog / "scenes" / scene.id, scene, fingerprint="x", dated=True, bands=[{}, {}])
    write_index(catalog, "sample")
    model = {"library": "torchgeo", "name": "FCN", "encoder": "none", "weights": None, "detail": 0}
    settings: dict[str, Any] = {"chips": {"size": 64, "stride": 32}, "split": {"block": 2560}}
    settings |= {"train": {"model": model, "epochs": 2, "crop": 32}, "evaluate": {"bootstrap": 100}}
    settings |= {"predict": {"window": 128, "overlap": 32}}
    values = params(write_labels(tmp_path / "parcels.gpkg"), **settings).model_dump(mode="json")
    made = {}
    for pixels in ("shards", "scenes"):
        values["chips"]["pixels"] = pixels
        workspace = tmp_path / pixels
        workspace.mkdir()
        (workspace / "params.yaml").write_text(yaml.safe_dump(values))
        monkeypatch.chdir(workspace)
        for stage in STAGES:
            outcome = CliRunner().invoke(commands(), [stage], catch_exceptions=False)
            assert outcome.exit_code == 0, outcome.output
        made[pixels] = files(workspace / "data")
    same = {name for name in made["shards"] if not name.endswith((".images.npy", "run.json"))}
    assert {"train/weights.safetensors", "history.csv", "statistics.json", "metrics.json"} < same
    assert {name for name in same if made["shards"][name] != made["scenes"][name]} == set()
