"""A map whose installation was lost: out of a copy, its story and its model's predictions are the same to the byte."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.bundle.store import open_bundle
from pipelines.cli.main import commands
from pipelines.config import settings
from pipelines.doctor.champion import champion
from pipelines.inference.plan import map_shard, write_plan
from pipelines.scenes.catalog import write_index, write_item
from pipelines.workspace.git import git
from pipelines.workspace.ledger import append, read
from tests.builders import write_scene
from tests.bundle.registered import crown
from tests.bundle.trained import BANDS, bundle_folder, small_params
from tests.doctor.conftest import only

pytestmark = pytest.mark.slow
PARAMS = small_params()
PROJECT = PARAMS.project


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with a scene, a champion, a decision and a map."""
    for name in ("SWATH_CATALOG", "SWATH_PREDICTIONS", "SWATH_REPORTS", "SWATH_DVC_REMOTE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "watched"))
    monkeypatch.setenv("SWATH_REVISION", "c0ffee")
    (tmp_path / "watched").mkdir()
    git("init", "--quiet", "--bare", ".", at=tmp_path / "watched")
    catalog, predictions = settings().catalog / PROJECT, settings().predictions / PROJECT
    pixels = np.random.default_rng(0).integers(300, 6000, (3, 16, 16), dtype=np.uint16)
    scene = write_scene(catalog, pixels.repeat(8, axis=1).repeat(8, axis=2), id="scene", bands=BANDS)
    write_item(catalog / "scenes" / "scene", scene, fingerprint="f", dated=True, bands=[{}, {}, {}])
    write_index(catalog, PROJECT)
    version = int(crown(PROJECT, Path(shutil.copytree(bundle_folder(), tmp_path / "bundle"))))
    append(f"swath-decisions/{PROJECT}", lambda entries: {"verdict": "promote", "version": str(version)})
    model = f"models:/{PROJECT}/{version}"
    write_plan(predictions, "run", version, model, open_bundle(model).digest, [scene], 1)
    map_shard(predictions, "run", 0, [scene], catalog, open_bundle(model), 16 * 10**9)
    return tmp_path / "home"


def swath(*words: str | Path) -> str:
    ran = CliRunner().invoke(commands(), [str(word) for word in words])
    if ran.exception:
        raise ran.exception
    return ran.stdout


def told(home: Path, out: Path) -> tuple[str, dict[str, bytes]]:
    """What is told of the map, and what the champion makes of its scene now."""
    explained = swath("explain", home / "predictions" / PROJECT / "v1" / "scene")
    for place in (home, home.parent / "home"):  # the map's item names where its image was then
        explained = explained.replace(str(place), "HOME")
    out.mkdir()
    image = out / "scene_N0208_R1.tif"  # a name that tells its processing baseline
    shutil.copy(home / "catalog" / PROJECT / "scenes" / "scene" / "image.tif", image)
    # in a process of its own: MLflow remembers for each run where its artifacts were
    command = ["-m", "pipelines", "predict", f"models:/{PROJECT}@champion", image, "--out", out]
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    maps = {path.name: path.read_bytes() for path in (out / image.stem).glob("*.tif")}
    assert maps.keys() >= {"classes.tif", "confidence.tif"}
    return explained, maps


def test_what_a_lost_installation_knew_and_made_comes_out_of_a_copy(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, decided = told(home, tmp_path / "before"), read(f"swath-decisions/{PROJECT}")
    swath("backup", tmp_path / "copies")
    home.rename(tmp_path / "lost")

    swath("restore", tmp_path / "copies")
    assert told(home, tmp_path / "again") == before
    assert read(f"swath-decisions/{PROJECT}") == decided and len(decided.entries) == 1
    _see_the_champion(home)

    home.rename(tmp_path / "lost-again")
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("SWATH_HOME", str(elsewhere))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # which MLflow itself has set in this process
    swath("restore", tmp_path / "copies")
    assert told(elsewhere, tmp_path / "there") == before


def _see_the_champion(home: Path) -> None:
    """What `swath doctor` says of it, well and at fault."""
    only(champion(PARAMS), "fine")
    scenes = PARAMS.scenes.model_copy(update={"bands": ("B02", "B03", "B08")})
    found = only(champion(PARAMS.model_copy(update={"scenes": scenes})), "fault")
    assert "takes the bands B02, B03, B04, and params.yaml says B02, B03, B08" in found.what
    only(champion(PARAMS.model_copy(update={"project": "another"})), "skipped")
    shutil.rmtree(home / "bundles")
    (graph,) = (home / "mlflow").rglob("model.onnx")
    graph.write_bytes(graph.read_bytes() + b"x")
    assert "is not the file that was bundled" in only(champion(PARAMS), "fault").what
