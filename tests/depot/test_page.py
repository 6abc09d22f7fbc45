"""The Swath page on a machine that has nothing of its own: what the store holds, and what has become of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.config import settings
from pipelines.depot import look, work
from pipelines.files import write_json
from plugins.notices import Notice, tell
from plugins.pages.app import app
from tests.atlas.ground import PROJECT, X, Y, Z, degrees, publish_scene, village
from tests.depot.machines import client as s3
from tests.depot.machines import files

TILES = f"p/{PROJECT}/tiles"
PLACE = "lon={:.6f}&lat={:.6f}".format(*degrees(40, 20))


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """The home of an embedded system with scenes, maps and a report."""
    home = tmp_path / "embedded"
    village(home)
    report = home / "reports" / PROJECT / "drift" / "monitor_drift.r1"
    write_json(report / "verdict.json", {"verdict": "none", "sentence": "No drift."})
    (report / "report.html").write_text("<p>A report.</p>")
    return home


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    app.dependency_overrides[get_user] = lambda: "ada"
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "nothing"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    airflow = FastAPI()
    airflow.mount("/swath", app)
    with TestClient(airflow, base_url="http://airflow/swath/") as browser:
        yield browser
    app.dependency_overrides.clear()


def send(home: Path, name: str) -> None:
    """Have another machine make what lies below ``home``."""

    def body() -> None:
        for key in files(home):
            target = settings().catalog.parent / key
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(home / key, target)

    work(name, body)


def test_the_page_shows_the_same_as_beside_the_folders_and_brings_no_rasters(
    embedded: Path, tmp_path: Path, store: str, browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [f"{TILES}/{kind}/{Z}/{X}/{Y}.png?version=1&bands=B04,B03,B02" for kind in ("image", "classes", "mask")]
    asked += [f"p/{PROJECT}/layers.json", f"p/{PROJECT}/pixel.json?{PLACE}"]
    asked += [f"reports/{PROJECT}/drift/monitor_drift.r1/report.html"]
    monkeypatch.setenv("SWATH_HOME", str(embedded))
    expected = [browser.get(path) for path in asked]
    assert all(answer.status_code == 200 for answer in expected)

    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "worker"))
    monkeypatch.setenv("SWATH_STORE", store)
    send(embedded, "all")
    tell(Notice(kind="failure", title="d.t failed", why="w", dag="d", run="r", when="2026-11-26T01:00:00+00:00"))
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "api-server"))
    found = [browser.get(path) for path in asked]
    told = {"digest": "", "unlabelled": ""}  # stands for times of files; names a folder of this machine
    for path, one, other in zip(asked, found, expected, strict=True):
        if ".json" in path:
            assert one.json() | told == other.json() | told
        else:
            assert (one.status_code, one.content) == (200, other.content), path
    overview = browser.get("").text
    assert "No drift." in overview and "d.t failed" in overview
    assert not list((tmp_path / "api-server" / "depot" / "objects").rglob("*.tif@*"))

    tile = f"{TILES}/image/{Z}/{X}/{Y}.png?bands=B04,B03,B02"
    before, digest = browser.get(tile).content, found[3].json()["digest"]
    bright = np.full((4, 256, 256), 9000, np.uint16)
    bright[:, ::2] = 100
    publish_scene(embedded, "later", "2024-08-01", bright)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "worker"))
    s3().delete_object(Bucket="swath", Key=f"{store.partition('swath/')[2]}/predictions/{PROJECT}/v2/late/item.json")
    catalog = f"{store.partition('swath/')[2]}/catalog/{PROJECT}/catalog.json"
    s3().delete_object(Bucket="swath", Key=catalog)
    shutil.rmtree(embedded / "predictions")
    shutil.rmtree(embedded / "reports")
    for id in ("early", "late"):
        shutil.rmtree(embedded / "catalog" / PROJECT / "scenes" / id)
    send(embedded, "later")
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "api-server"))
    assert browser.get(tile).content == before, "half a minute has not passed"
    monkeypatch.setattr("pipelines.depot.session._FRESH", 0)
    layers = browser.get(f"p/{PROJECT}/layers.json").json()
    assert layers["digest"] != digest
    versions = {scene["id"]: scene["versions"] for scene in layers["scenes"]}
    assert versions == {"later": [], "late": [1], "early": [2, 1]}
    assert browser.get(tile).content != before


def test_a_store_out_of_reach_is_an_answer_until_something_was_seen(
    embedded: Path, tmp_path: Path, store: str, browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "worker"))
    monkeypatch.setenv("SWATH_STORE", store)
    send(embedded, "all")
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "api-server"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # as docker-compose.yml has it
    monkeypatch.setattr("pipelines.depot.session._FRESH", 0)
    real = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    answer = browser.get(f"p/{PROJECT}/layers.json")
    assert answer.status_code == 503 and "does not answer" in answer.json()["detail"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", real)
    look()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert len(browser.get(f"p/{PROJECT}/layers.json").json()["scenes"]) == 2
