"""Dataset versions out of a real repository and DVC remote, and maps held against their labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image

from pipelines.atlas.datasets import (
    CERTIFICATE,
    SPLIT_MAP,
    certificate,
    dataset,
    datasets,
    fetched,
    labels_params,
    manifest,
)
from pipelines.atlas.layers import Atlas, open_atlas
from pipelines.atlas.pixel import pixel_at
from pipelines.atlas.tiles import RIGHT, WRONG
from pipelines.atlas.truth import truth_of
from pipelines.config import settings
from pipelines.dataset.certificate import Certificate
from pipelines.dataset.snapshot import Manifest
from pipelines.errors import BadData
from pipelines.files import write_json
from pipelines.workspace.release import release
from pipelines.workspace.source import resolve
from pipelines.workspace.stage import reproduce
from pipelines.workspace.workspace import close_workspace, open_workspace
from tests.atlas.ground import BANDS, CLASSES, PROJECT, SIDE, degrees, village
from tests.atlas.test_tiles import drawn
from tests.workspace.conftest import Repository

pytestmark = pytest.mark.slow  # dvc takes seconds to start

_STAGES = """
stages:
  snapshot:
    cmd: mkdir -p data && cp -r prepared/. data
    deps: [prepared]
    outs: [data/certificate.json, data/certificate.png, data/manifest.json, data/labels, data/chips]
  train: {cmd: "true", deps: [data/chips]}
  evaluate: {cmd: "true", deps: [data/chips]}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    home = folder / "home"
    village(home)
    repository = Repository(folder / "checkout")
    with pytest.MonkeyPatch.context() as patch:
        _here(patch, folder)
        labels = {"source": "x", "classes": [each.model_dump() for each in CLASSES]}
        repository.write("params.yaml", yaml.safe_dump({"project": PROJECT, "labels": labels}))
        repository.write("dvc.yaml", _STAGES)
        _prepare(repository.folder / "prepared", open_atlas(PROJECT))
        commit = repository.commit("Label the village")
        workspace = open_workspace("run", resolve(None))
        made = reproduce(workspace, "snapshot", {}, {})
        release(workspace, "run", PROJECT, commit, made.lock)
        close_workspace("run")
    return folder


@pytest.fixture
def atlas(built: Path, monkeypatch: pytest.MonkeyPatch) -> Atlas:
    _here(monkeypatch, built)
    return open_atlas(PROJECT)


def _here(patch: pytest.MonkeyPatch, folder: Path) -> None:
    names = ("CATALOG", "PREDICTIONS", "REPORTS", "DVC_REMOTE", "DVC_CACHE", "GIT_BRANCH", "REVISION", "LOCK")
    for name in names:
        patch.delenv(f"SWATH_{name}", raising=False)
    patch.setenv("SWATH_HOME", str(folder / "home"))
    patch.setenv("SWATH_GIT_REMOTE", str(folder / "checkout"))


def _prepare(folder: Path, atlas: Atlas) -> None:
    """Labels of the scene `late` alone: wood everywhere but in the north-east, which nobody labelled."""
    balance = {split: {each.name: 1 / 3 for each in CLASSES} for split in ("train", "val", "test")}
    counts = {"train": 3, "val": 1, "test": 1}
    write_json(
        folder / CERTIFICATE,
        Certificate(
            clean=True,
            overlap_m2=0,
            smallest_distance_m=950,
            buffer_m=905,
            diagonal_m=905,
            class_balance=balance,
            blocks=counts,
            chips=counts,
            findings=("Class wood is not in the val split.",),
        ).model_dump(mode="json"),
    )
    scenes = tuple(scene for scene in atlas.scenes if scene.id == "late")
    pinned = Manifest(
        project=PROJECT, bands=BANDS, dtype="uint16", scenes=scenes, labels=(), excluded=(), shifts={}, findings=()
    )
    write_json(folder / "manifest.json", pinned.model_dump(mode="json"))
    Image.new("RGB", (8, 8), "white").save(folder / SPLIT_MAP)
    (folder / "chips").mkdir()
    (folder / "chips" / "index").write_text("chips")
    (folder / "labels").mkdir()
    values = np.full((SIDE, SIDE), 2, np.uint8)
    values[: SIDE // 2, SIDE // 2 :] = 0
    with rasterio.open(atlas.scene("late").image_path(atlas.catalog)) as image:
        grid = {"crs": image.crs, "transform": image.transform, "width": SIDE, "height": SIDE}
    with rasterio.open(folder / "labels" / "late.tif", "w", count=1, dtype="uint8", nodata=0, **grid) as out:
        out.write(values, 1)


def test_a_version_tells_what_it_holds(atlas: Atlas) -> None:
    found = datasets(PROJECT)
    assert [each.number for each in found] == [1] and found[0].tag == f"dataset/{PROJECT}/v1"
    assert found[0].digest.endswith(".dir") and found[0].run == "run"
    assert certificate(found[0]).clean and certificate(found[0]).smallest_distance_m == 950
    assert [scene.id for scene in manifest(found[0]).scenes] == ["late"]
    assert [each.name for each in labels_params(found[0]).classes] == ["water", "wood", "house"]
    with pytest.raises(BadData):
        dataset(PROJECT, 2)
    assert datasets("nobody") == []


def test_its_files_come_from_the_remote_where_this_machine_has_none(atlas: Atlas) -> None:
    for folder in ("atlas", "dvc/cache", "workspaces"):
        shutil.rmtree(settings().home / folder, ignore_errors=True)
    assert Image.open(fetched(dataset(PROJECT, 1), SPLIT_MAP)).size == (8, 8)
    assert not list((settings().home / "workspaces").glob("page*"))


def test_maps_are_held_against_the_labels(atlas: Atlas) -> None:
    truth = truth_of(atlas, atlas.scene("late"))
    assert truth is not None and truth.names == ("water", "wood", "house")
    assert truth_of(atlas, atlas.scene("early")) is None
    first, second = (drawn(atlas, "errors", version=version) for version in (1, 2))
    assert tuple(first[128, 10]) == WRONG and tuple(first[128, 100]) == RIGHT  # water and wood, labelled as wood
    assert tuple(second[128, 100]) == WRONG  # version 2 takes the wood for houses
    assert first[100, 200, 3] == 0  # not labelled
    assert first[5, 100, 3] == 0  # under a cloud nothing was mapped


def test_a_pixel_tells_its_label(atlas: Atlas) -> None:
    labelled, bare = pixel_at(atlas, *degrees(200, 10)), pixel_at(atlas, *degrees(100, 200))
    assert labelled is not None and labelled.label == "wood" and labelled.maps[1].name == "water"
    assert bare is not None and bare.label is None and bare.unlabelled is None


def test_a_repository_out_of_reach_takes_only_the_label_away(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_HOME", str(settings().home.with_name("elsewhere")))
    monkeypatch.setenv("SWATH_CATALOG", str(atlas.catalog.parent))
    monkeypatch.setenv("SWATH_PREDICTIONS", str(atlas.predictions.parent))
    monkeypatch.setenv("SWATH_GIT_REMOTE", "file:///nowhere")
    (settings().home).mkdir(exist_ok=True)
    found = pixel_at(open_atlas(PROJECT), *degrees(200, 10))
    assert found is not None and found.scene == "late" and found.unlabelled and "nowhere" in found.unlabelled
