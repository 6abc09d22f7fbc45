"""The Swath page as a browser gets it: behind the login, nothing outside of its folders, and the right answers."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.evaluation.tracking import store
from pipelines.files import write_json
from pipelines.registry import aliases
from pipelines.registry.record import Record, change, keep, now
from pipelines.scenes.quarantine import put
from plugins.pages.app import app
from tests.atlas.ground import PROJECT, X, Y, Z, degrees, village

_FILLED = {
    "project": PROJECT,
    "kind": "classes",
    "z": Z,
    "x": X,
    "y": Y,
    "path": "swath.css",
    "number": 1,
    "name": "d.r",
}
_FILLED |= {"dag": "monitor_drift", "run": "r1"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    village(home)
    reports = home / "reports" / PROJECT
    write_json(reports / "drift" / "monitor_drift.r1" / "verdict.json", {"verdict": "none", "sentence": "No drift."})
    (reports / "secret").symlink_to(home / "secret.txt")
    (home / "secret.txt").write_text("xyzzy")
    write_json(
        home / "notices" / "n.json",
        {"kind": "failure", "title": "d.t failed", "dag": "d", "task": "t", "run": "r"}
        | {"why": "<script>alert(1)</script>", "when": "2026-11-26T01:00:00+00:00"},
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CATALOG", "PREDICTIONS", "REPORTS", "BASEMAP"):
            patch.delenv(f"SWATH_{name}", raising=False)
        patch.setenv("SWATH_HOME", str(home))
        patch.setenv("SWATH_GIT_REMOTE", str(home / "nothing"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
        yield home


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    """Somebody who is logged in."""
    app.dependency_overrides[get_user] = lambda: "ada"
    airflow = FastAPI()
    airflow.mount("/swath", app)
    with TestClient(airflow, base_url="http://airflow/swath/") as client:
        yield client
    app.dependency_overrides.clear()


def _routes() -> list[APIRoute]:
    return [route for route in app.routes if isinstance(route, APIRoute)]


def test_every_route_asks_for_the_login(home: Path) -> None:
    assert len(_routes()) == len(app.routes), "a mounted application or file would not ask"
    client = TestClient(app)
    for route in _routes():
        for method in route.methods:
            answer = client.request(method, route.path.replace(":path", "").format(**_FILLED))
            assert answer.status_code == 401, f"{method} {route.path} answers {answer.status_code}"


def test_a_person_without_a_login_is_shown_where_to_get_one(home: Path) -> None:
    answer = TestClient(app).get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 401 and "/auth/login" in answer.text and PROJECT not in answer.text


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("POST", "/"), ("GET", "/p/x/map"), ("GET", "/")])
def test_no_way_to_an_error_tells_a_stranger_what_projects_there_are(home: Path, method: str, path: str) -> None:
    answer = TestClient(app).request(method, path, headers={"Accept": "text/html"})
    assert answer.status_code in (401, 403, 404, 405) and PROJECT not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "reports/../secret.txt",
        "reports/%2e%2e/secret.txt",
        "reports/..%2fsecret.txt",
        "reports/%2e%2e%2fsecret.txt",
        f"reports/{PROJECT}/secret",
        "reports//etc/passwd",
        "static/..%2fapp.py",
        "static/%2e%2e/site.py",
        "leaflet/..%2f__init__.py",
        "p/..%2f/map",
        "p/%2e%2e/layers.json",
        "p/.hidden/layers.json",
        f"p/{PROJECT}/pixel.json?lon=0&lat=0&scene=..%2f..",
        f"p/{PROJECT}/tiles/classes.tif/1/0/0.png",
        f"p/{PROJECT}/tiles/classes/1/0/0.png?version=9",
        "p/..%2f..%2f/tiles/mask/0/0/0.png",
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_folders(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert "xyzzy" not in answer.text and "root:" not in answer.text and "import" not in answer.text
    assert answer.status_code == 404 or (answer.status_code == 200 and answer.json() == {})


def test_reports_scripts_and_the_map_library_are_served(client: TestClient) -> None:
    assert client.get(f"reports/{PROJECT}/drift/monitor_drift.r1/verdict.json").json()["verdict"] == "none"
    assert client.get("static/map.js").headers["content-type"].startswith("text/javascript")
    assert "Leaflet 1.9" in client.get("leaflet/leaflet.js").text[:200]


def test_the_overview_counts_and_escapes(client: TestClient) -> None:
    page = client.get("").text
    assert "Scenes in the catalog" in page and "2 by version 1" in page and "No drift." in page
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_a_project_that_cannot_be_read_keeps_no_other_from_being_shown(client: TestClient, home: Path) -> None:
    broken = home / "catalog" / "broken"
    write_json(broken / "catalog.json", {"links": [{"rel": "item", "href": "./scenes/lost/lost.json"}]})
    (home / "notices" / "cut.json").touch()
    try:
        answer = client.get("")
        assert answer.status_code == 200
        assert "lost.json is no item" in answer.text and "2 by version 1" in answer.text and "d.t failed" in answer.text
    finally:
        shutil.rmtree(broken)
        (home / "notices" / "cut.json").unlink()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (f"reports/{PROJECT}/drift/monitor_drift.r2/verdict.json", ""),
        (f"reports/{PROJECT}/drift/monitor_drift.r2/verdict.json", '{"version": 3}'),
        (f"catalog/{PROJECT}/quarantine/a.json", "{"),
        ("notices/odd.json", '{"kind": "failure"}'),
        ("notices/odd.json", "[1]"),
    ],
)
def test_a_damaged_file_keeps_nothing_else_from_being_shown(
    client: TestClient, home: Path, file: str, content: str
) -> None:
    shutil.copytree(home / "catalog" / PROJECT, home / "catalog" / "sound")
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text(content)
    try:
        answer = client.get("")
        assert answer.status_code == 200 and "d.t failed" in answer.text and 'href="/swath/p/sound/' in answer.text
    finally:
        (home / file).unlink()
        if "monitor_drift.r2" in file:
            (home / file).parent.rmdir()
        shutil.rmtree(home / "catalog" / "sound")


@pytest.mark.parametrize("part", ["map", "layers.json", "models", "drift", "data", "scenes"])
def test_a_project_that_is_not_there_is_not_found(client: TestClient, part: str) -> None:
    answer = client.get(f"p/nosuch/{part}")
    assert answer.status_code == 404 and "no project nosuch" in answer.json()["detail"]


def test_what_nobody_foresaw_is_told_in_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.pages.overview.projects", lambda: 1 / 0)
    app.dependency_overrides[get_user] = lambda: "ada"
    answer = TestClient(app, raise_server_exceptions=False).get("/")
    app.dependency_overrides.clear()
    assert answer.status_code == 500 and "division by zero" in answer.json()["detail"]


def test_the_login_of_services_at_mlflow_is_in_no_link(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:hunter2hunter@127.0.0.1:9/mlflow")
    page = client.get("").text
    assert 'href="http://127.0.0.1:9/mlflow"' in page and "hunter2hunter" not in page


def test_a_scene_beyond_the_limit_is_a_red_dot_that_leads_to_the_map(client: TestClient, home: Path) -> None:
    folder = home / "reports" / PROJECT / "drift" / "monitor_drift.r1"
    moved = {"distances": {"band.B02": 0.9}, "limits": {"band.B02": 0.3}}
    usual = {"distances": {"band.B02": 0.1}, "limits": {"band.B02": 0.3}}
    scenes = [
        {"name": "early", "group": "spring-31N", "when": "2024-05-01T10:00:00Z"} | usual,
        {"name": "late", "group": "summer-31N", "when": "2024-07-01T10:00:00Z"} | moved,
    ]
    write_json(folder / "comparison.json", {"version": None, "scenes": scenes, "groups": []})
    dot = r'<a href="([^"]+)"><circle cx="([\d.]+)" cy="([\d.]+)"[^>]*?( class="odd")?>'
    dots = re.findall(dot, client.get(f"p/{PROJECT}/drift").text)
    (_, x1, y1, odd1), (address, x2, y2, odd2) = dots
    assert (odd1, odd2) == ("", ' class="odd"') and address == f"/swath/p/{PROJECT}/map?scene=late"
    assert float(x1) < float(x2) and float(y1) > float(y2)
    (folder / "comparison.json").unlink()


def test_reports_run_no_scripts(client: TestClient, home: Path) -> None:
    """Those of Great Expectations ask for scripts of other hosts, which would act in Airflow as whoever looks."""
    page = home / "reports" / PROJECT / "data_docs" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("<script src='https://cdn.example/vega.js'></script>")
    policy = client.get(f"reports/{PROJECT}/data_docs/index.html").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';") and "script-src" not in policy


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("", f"p/{PROJECT}/map", f"p/{PROJECT}/drift", f"p/{PROJECT}/scenes"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://airflow", "") and "https://" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_map_is_told_what_there_is(client: TestClient) -> None:
    about = client.get(f"p/{PROJECT}/layers.json").json()
    assert [scene["id"] for scene in about["scenes"]] == ["late", "early"]
    assert [version["number"] for version in about["versions"]] == [2, 1]
    assert about["versions"][0]["legend"][0] == {"value": 0, "name": "water", "color": "#0000ff"}
    assert about["combinations"]["True colour"] == ["B04", "B03", "B02"]


def test_the_map_is_told_who_is_champion(client: TestClient) -> None:
    """Which after a rollback is not the newest version that has maps."""
    assert client.get(f"p/{PROJECT}/champion.json").json() == {"number": None}
    with store() as registry:
        registry.create_registered_model(PROJECT)
        for _ in range(2):
            registry.create_model_version(PROJECT, "file:///nowhere")
        registry.set_registered_model_alias(PROJECT, "champion", "1")
    assert client.get(f"p/{PROJECT}/champion.json").json() == {"number": 1}
    with store() as registry:
        registry.delete_registered_model(PROJECT)


def test_a_tile_has_the_colours_of_the_classes(client: TestClient) -> None:
    answer = client.get(f"p/{PROJECT}/tiles/classes/{Z}/{X}/{Y}.png?version=1&until=2024-07-01")
    assert answer.headers["content-type"] == "image/png" and "private" in answer.headers["cache-control"]
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    assert [tuple(picture[128, column]) for column in (10, 128, 250)] == [
        (0, 0, 255, 255),
        (0, 255, 0, 255),
        (255, 0, 0, 255),
    ]


def test_a_pixel_is_told(client: TestClient) -> None:
    longitude, latitude = degrees(128, 100)
    found = client.get(f"p/{PROJECT}/pixel.json", params={"lon": longitude, "lat": latitude}).json()
    assert found["scene"] == "late"
    assert {said["version"]: said["name"] for said in found["maps"]} == {1: "wood", 2: "house"}
    assert client.get(f"p/{PROJECT}/pixel.json?lon=1&lat=1").json() == {}
    assert client.get(f"p/{PROJECT}/pixel.json?lon=1000&lat=1").status_code == 422


@pytest.mark.parametrize(
    ("dag", "run", "target"),
    [
        ("ingest_scenes", "manual__1", f"/p/{PROJECT}/scenes"),
        ("build_dataset", "manual__1", f"/p/{PROJECT}/data"),
        ("train_model", "manual__1", f"/p/{PROJECT}/models"),
        ("predict_scenes", "manual__1", f"/p/{PROJECT}/map"),
        ("monitor_drift", "manual__01:00:00+00:00", f"/p/{PROJECT}/drift#monitor_drift.manual__01-00-00-00-00"),
    ],
)
def test_a_run_leads_to_its_part(client: TestClient, dag: str, run: str, target: str) -> None:
    answer = client.get(f"of/{dag}/{quote(run, safe='')}", follow_redirects=False)
    assert answer.status_code == 307 and answer.headers["location"] == f"/swath{target}"


def test_with_several_projects_a_run_leads_to_its_own(client: TestClient, home: Path) -> None:
    (home / "catalog" / "another").mkdir()
    left = home / "predictions" / "another" / "staging" / "predict_scenes.manual__1"
    left.mkdir(parents=True)
    found = client.get("of/predict_scenes/manual__1", follow_redirects=False).headers["location"]
    unknown = client.get("of/predict_scenes/manual__2", follow_redirects=False).headers["location"]
    shutil.rmtree(home / "catalog" / "another")
    shutil.rmtree(home / "predictions" / "another")
    assert found == "/swath/p/another/map" and unknown == "/swath/"


def test_a_run_of_another_dag_has_no_part(client: TestClient) -> None:
    answer = client.get("of/somebody_elses/manual__1")
    assert answer.status_code == 200 and "leaves nothing" in answer.text


def test_quarantine_is_shown_with_its_reason_and_another_try(client: TestClient, home: Path) -> None:
    catalog = home / "catalog" / PROJECT
    common = {"source": "s", "fingerprint": "f"}
    put(catalog, id="burst", stage="validate", reason="Band <b>B02</b> is dark.", **common)
    put(catalog, id="../evil", stage="search", reason="No id.", **common)
    page = client.get(f"p/{PROJECT}/scenes").text
    assert "Band &lt;b&gt;B02&lt;/b&gt; is dark." in page and 'data-retry="burst"' in page and 'data-retry="*"' in page
    assert "../evil" in page and 'data-retry="../evil"' not in page
    assert f'href="/swath/p/{PROJECT}/map?scene=late"' in page and "version 2" in page
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plugins.pages.scenes._SHOWN", 1)
        page = client.get(f"p/{PROJECT}/scenes").text
    assert "The newest 1 of 2." in page and "../evil" in page and "is dark" not in page
    shutil.rmtree(catalog / "quarantine")


def test_the_newest_queue_is_shown(client: TestClient, home: Path) -> None:
    assert client.get(f"p/{PROJECT}/queue.geojson").json()["features"] == []
    place = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]}, "properties": {"scene": "late"}}
    file = home / "reports" / PROJECT / "drift" / "monitor_drift.r1" / "places.geojson"
    write_json(file, {"type": "FeatureCollection", "features": [place]})
    shown = client.get(f"p/{PROJECT}/queue.geojson").json()
    assert shown["features"] == [place]
    (file.parent / "places").mkdir()
    (file.parent / "places" / "01-late.tif").write_bytes(b"pixels")
    assert client.get(f"reports/{shown['folder']}/places/01-late.tif").content == b"pixels"
    shutil.rmtree(file.parent)


def test_the_queue_is_found_where_reports_lie_on_another_disk(
    client: TestClient, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "disk" / PROJECT / "drift" / "r1" / "places.geojson", {"features": []})
    (tmp_path / "linked").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("SWATH_REPORTS", str(tmp_path / "linked"))
    assert client.get(f"p/{PROJECT}/queue.geojson").json()["folder"] == f"{PROJECT}/drift/r1"


@pytest.mark.slow
def test_decisions_on_record_are_held_against_mlflow(client: TestClient, home: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, store() as registry:
        patch.setenv("SWATH_GIT_REMOTE", str(tmp_path))  # an unpacked archive
        run = registry.create_run(registry.create_experiment("p"))
        registry.create_registered_model(PROJECT)
        version = registry.create_model_version(PROJECT, "nowhere", run.info.run_id)
        told = {"before": None, "after": None, "who": "ada <b>", "run": "train_model.x", "when": now()}
        made = change(version, {aliases.DECISION: "refuse"})
        keep(registry, PROJECT, Record(kind="judged", version="1", reasons=("Worse.",), changes=(made,), **told))
        piece = client.get(f"p/{PROJECT}/records").text
        assert "1 decisions on record" in piece and "ada &lt;b&gt;" in piece and "/swath/run/train_model.x" in piece
        registry.set_model_version_tag(PROJECT, "1", aliases.DECISION, "promote")
        piece = client.get(f"p/{PROJECT}/records").text
        assert "says &#39;promote&#39;; the record says &#39;refuse&#39;" in piece and "unaltered" not in piece
        assert f"/swath/p/{PROJECT}/records" in client.get(f"p/{PROJECT}/models").text


@pytest.mark.slow
def test_a_gain_of_which_nothing_is_sure_leaves_the_page_of_models_standing(
    client: TestClient, home: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch, store() as registry:
        patch.setenv("SWATH_GIT_REMOTE", str(tmp_path))
        run = registry.create_run(registry.create_experiment("one block", artifact_location=tmp_path.as_uri()))
        evidence = {"gain": {"value": 0.15, "low": None, "high": None}, "opponent": "baseline", "blocks": 1}
        told = {"verdict": "refuse", "reasons": ["One block."], "when": now().isoformat(), "evidence": evidence}
        registry.log_dict(run.info.run_id, told, "decision.json")
        uri = f"runs:/{run.info.run_id}/decision.json"
        tags = {aliases.RECORD: uri, aliases.DECISION: "refuse"}
        number = registry.create_model_version(PROJECT, "nowhere", run.info.run_id, tags=tags).version
        answer = client.get(f"p/{PROJECT}/models")
        assert answer.status_code == 200 and "judged beside the baseline" in answer.text
        registry.delete_model_version(PROJECT, number)
