"""The four commands: idempotent, indifferent to being killed, and going on past bad scenes."""

from __future__ import annotations

import importlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli.ingest import app
from pipelines.errors import BadData, SwathError
from pipelines.files import sha256
from pipelines.scenes import quarantine
from pipelines.scenes.candidate import Candidate
from pipelines.scenes.catalog import read_scene, read_scenes, verify
from pipelines.scenes.staging import Plan, read_plan, read_shard, write_plan
from tests.scenes.sources import item, params, write_band, write_catalog, write_scene_files

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Project:
    """A folder with params.yaml, a source of three good scenes and four bad ones, and a home of its own."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.source = folder, source
        folder.mkdir(parents=True)
        values = yaml.safe_load((ROOT / "params.yaml").read_text())
        scenes = params(source / "catalog.json").model_dump(mode="json")
        values |= {"project": "test", "scenes": scenes}
        (folder / "params.yaml").write_text(yaml.safe_dump(values))

    def source_is(self, source: str) -> None:
        values = yaml.safe_load((self.folder / "params.yaml").read_text())
        values["scenes"]["source"] = source
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values))

    def change_checks(self, **limits: object) -> None:
        values = yaml.safe_load((self.folder / "params.yaml").read_text())
        values["scenes"]["checks"] |= limits
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values))

    def swath(self, *arguments: str) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("SWATH_HOME", str(self.folder / "home"))
            result = CliRunner().invoke(app, ["ingest", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout.strip().splitlines()[-1]))

    @property
    def catalog(self) -> Path:
        return self.folder / "home" / "catalog" / "test"

    def reasons(self) -> dict[str, tuple[str, str]]:
        records = [json.loads(path.read_text()) for path in (self.catalog / "quarantine").glob("*.json")]
        return {record["id"]: (record["stage"], record["reason"]) for record in records}

    def tree(self) -> dict[str, str]:
        """Every published file by its hash."""
        home = self.folder / "home"
        paths = [self.catalog / "catalog.json", *(self.catalog / "scenes").rglob("*")]
        return {str(p.relative_to(home)): sha256(p) for p in paths if p.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    good = {n: write_scene_files(folder / n, offset=-1000, seed=i) for i, n in enumerate(("a", "b", "c"))}
    documents = [item(n, files) for n, files in good.items()]
    cut = write_scene_files(folder / "cut", offset=-1000)
    cut["B03"].write_bytes(cut["B03"].read_bytes()[:9000])
    flagged = write_scene_files(folder / "flagged", offset=-1000)
    dark = write_scene_files(folder / "dead", offset=-1000)
    write_band(dark["B03"], np.full((256, 256), 1200, np.uint16))
    documents += [item("cut", cut), item("dead", dark), item("../hostile", good["a"])]
    documents += [item("flagged", flagged, **{"earthsearch:boa_offset_applied": True})]
    write_catalog(folder, documents)
    return folder


def test_a_run_publishes_the_good_and_explains_the_bad(tmp_path: Path, source: Path) -> None:
    project = Project(tmp_path / "project", source)
    assert project.swath("search", "--run", "r1") == {"found": 7, "new": 6, "shards": 3}
    fetched = [project.swath("fetch", "--run", "r1", "--shard", str(k)) for k in range(3)]
    assert sum(f["fetched"] for f in fetched) == 4 and sum(f["quarantined"] for f in fetched) == 2
    assert list(read_scenes(project.catalog)) == []
    checked = [project.swath("validate", "--run", "r1", "--shard", str(k)) for k in range(3)]
    assert sum(c["checked"] for c in checked) == 4 and sum(c["quarantined"] for c in checked) == 1
    result = project.swath("publish", "--run", "r1")
    assert result["ids"] == ["a", "b", "c"] and result["scenes"] == 3 and result["changed"]
    assert result["quarantined"] == 4
    reasons = project.reasons()
    assert {id: stage for id, (stage, _) in reasons.items() if "hostile" not in id} == {
        "cut": "fetch",
        "flagged": "fetch",
        "dead": "validate",
    }
    assert "mixed state" in reasons["flagged"][1] and "dead band" in reasons["dead"][1]
    assert not (tmp_path / "hostile").exists() and len(list((project.catalog / "scenes").iterdir())) == 3
    docs = Path(result["data_docs"])
    pages = [p.read_text() for p in docs.parent.rglob("validations/**/*.html")]
    assert docs.exists() and len(pages) == 1 and "dead band" in pages[0] and "B03_std" in pages[0]

    assert project.swath("publish", "--run", "r1") == result  # cleared and run again
    assert project.swath("search", "--run", "r2") == {"found": 7, "new": 0, "shards": 0}
    again = project.swath("publish", "--run", "r2")
    assert not again["changed"] and again["digest"] == result["digest"] and again["quarantined"] == 4

    catalog = pystac.Catalog.from_file(str(project.catalog / "catalog.json"))
    assert [i.id for i in catalog.get_items()] == ["a", "b", "c"]
    scene = read_scene(project.catalog, "b")
    verify(scene, project.catalog)
    with scene.mask_path(project.catalog).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(BadData, match="has changed"):
        verify(scene, project.catalog)
    with pytest.raises(BadData, match="no scene"):
        read_scene(project.catalog, "flagged")


def test_what_an_earlier_plan_left_unchecked_is_never_published(tmp_path: Path) -> None:
    dead = write_scene_files(tmp_path / "source" / "dead", offset=-1000)
    write_band(dead["B03"], np.full((256, 256), 1200, np.uint16))
    write_catalog(tmp_path / "source", [item("dead", dead)])
    project = Project(tmp_path / "project", tmp_path / "source")
    project.swath("search", "--run", "r")
    assert project.swath("fetch", "--run", "r", "--shard", "0")["fetched"] == 1
    dead["B03"].write_bytes(dead["B03"].read_bytes()[:500])  # killed here, and the source changes
    write_catalog(tmp_path / "source", [item("dead", dead, updated="2024-08-01T00:00:00Z")])
    project.swath("search", "--run", "r")
    assert project.swath("fetch", "--run", "r", "--shard", "0") == {"fetched": 0, "quarantined": 1}
    result = project.swath("publish", "--run", "r")
    assert (result["published"], result["scenes"], result["quarantined"]) == (0, 0, 1)


def test_a_limit_that_is_loosened_lets_in_what_failed_it(tmp_path: Path) -> None:
    write_catalog(tmp_path / "source", [item("a", write_scene_files(tmp_path / "source" / "a", offset=-1000))])
    project = Project(tmp_path / "project", tmp_path / "source")
    project.change_checks(max_nodata=0.01)
    assert project.swath("all")["quarantined"] == 1
    assert project.swath("search", "--run", "again")["new"] == 0, "nothing changed"
    project.change_checks(max_nodata=0.5)
    result = project.swath("all")
    assert (result["published"], result["quarantined"]) == (1, 0) and project.reasons() == {}


def test_a_scene_that_was_refused_leaves_quarantine_once_its_item_is_mended(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source" / "a", offset=-1000)
    write_catalog(tmp_path / "source", [item("../a", files), item("../b", files)])
    project = Project(tmp_path / "project", tmp_path / "source")
    assert project.swath("all")["quarantined"] == 2
    write_catalog(tmp_path / "source", [item("a", files), item("../b", files)])
    assert project.swath("all")["ids"] == ["a"]
    assert len(project.reasons()) == 1 and "../b" in next(iter(project.reasons()))


def test_a_damaged_item_withholds_no_new_scene_and_is_set_aside(tmp_path: Path, source: Path) -> None:
    files = {name: write_scene_files(tmp_path / "source" / name, offset=-1000) for name in ("a", "b")}
    write_catalog(tmp_path / "source", [item("a", files["a"])])
    project = Project(tmp_path / "project", tmp_path / "source")
    project.swath("all")
    (project.catalog / "scenes" / "a" / "a.json").write_text("{")
    write_catalog(tmp_path / "source", [item("b", files["b"])])  # which offers a no more
    result = project.swath("all")
    assert (result["published"], result["scenes"]) == (1, 1)
    stage, reason = project.reasons()["a"]
    assert stage == "publish" and "a.json" in reason
    write_catalog(tmp_path / "source", [item("a", files["a"]), item("b", files["b"])])
    assert project.swath("all")["scenes"] == 2 and project.reasons() == {}


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours catches it."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, source: Path) -> tuple[Project, dict[str, Any]]:
    project = Project(tmp_path_factory.mktemp("undisturbed") / "project", source)
    return project, project.swath("all", "--run", "r1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "pipelines.scenes.fetch.write_item",
        "pipelines.scenes.quarantine.put",
        "pipelines.scenes.publish._move",
        "pipelines.scenes.catalog.write_index",
        "pipelines.scenes.quarantine.lift",
        "pipelines.cli.ingest.write_json",
        "shutil.rmtree",
    ],
)
def test_killed_at_any_moment_and_retried_gives_the_same(
    tmp_path: Path,
    source: Path,
    undisturbed: tuple[Project, dict[str, Any]],
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (reference, expected), project = undisturbed, Project(tmp_path / "project", source)
    module, _, name = moment.rpartition(".")
    owner = importlib.import_module(module)
    original, calls = getattr(owner, name), []

    def dying(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return original(*arguments, **options)

    steps = [("search",), *((s, "--shard", str(k)) for k in range(3) for s in ("fetch", "validate")), ("publish",)]
    single = moment.endswith(("write_index", "write_json"))  # called once: die at once
    if single:
        calls.append(1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        for step, *options in steps:
            try:
                result = project.swath(step, "--run", "r1", *options)
            except Killed:
                result = project.swath(step, "--run", "r1", *options)
    assert len(calls) >= 2, "the moment never came"
    ours = {k: v for k, v in result.items() if k != "data_docs"}
    assert ours == {k: v for k, v in expected.items() if k != "data_docs"}
    assert project.tree() == reference.tree()
    assert project.reasons() == reference.reasons()
    assert [path.name for path in (project.catalog / "staging" / "r1").iterdir()] == ["result.json"]


@pytest.mark.parametrize("fault", [SwathError("the network is down; try again."), ZeroDivisionError("a bug")], ids=type)
def test_network_trouble_fails_the_shard_after_the_others_are_fetched(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    project = Project(tmp_path / "project", source)
    project.swath("search", "--run", "r1")
    from pipelines.scenes import fetch as module

    original = module.fetch

    def flaky(candidate: Any, *arguments: Any) -> Any:
        if candidate.id == "a":
            raise fault
        return original(candidate, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "fetch", flaky)
        with pytest.raises(SwathError, match="1 of 2 scenes"):
            project.swath("fetch", "--run", "r1", "--shard", "0")
    assert (project.catalog / "staging" / "r1" / "scenes" / "b" / "b.json").exists()
    assert not project.reasons().get("a")
    before = (project.catalog / "staging" / "r1" / "scenes" / "b" / "image.tif").stat().st_mtime_ns
    assert project.swath("fetch", "--run", "r1", "--shard", "0") == {"fetched": 2, "quarantined": 0}
    assert (project.catalog / "staging" / "r1" / "scenes" / "b" / "image.tif").stat().st_mtime_ns == before


def test_a_scene_out_of_reach_withholds_no_other_and_can_be_fetched_later_in_the_same_run(
    tmp_path: Path, source: Path, undisturbed: tuple[Project, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path / "project", source)
    from pipelines.scenes import fetch as module

    original, fetched = module.fetch, []

    def forbidden(candidate: Any, *arguments: Any) -> Any:
        if candidate.id == "a":
            raise SwathError("403 Forbidden")
        return original(candidate, *arguments)

    def counted(candidate: Any, *arguments: Any) -> Any:
        fetched.append(candidate.id)
        return original(candidate, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "fetch", forbidden)
        with pytest.raises(SwathError, match="403 Forbidden"):
            project.swath("all", "--run", "r1")
    assert [scene.id for scene in read_scenes(project.catalog)] == ["b", "c"]
    assert "a" not in project.reasons()
    with monkeypatch.context() as patch:
        patch.setattr(module, "fetch", counted)
        for shard in range(3):
            project.swath("fetch", "--run", "r1", "--shard", str(shard))
    assert "a" in fetched and not {"b", "c"} & set(fetched)
    result = project.swath("publish", "--run", "r1")
    assert (result["ids"], result["missing"]) == (["a", "b", "c"], 0)
    assert project.tree() == undisturbed[0].tree()


def test_more_scenes_than_airflow_maps_tasks_make_larger_shards(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.scenes import search as module

    when = datetime(2024, 7, 1, tzinfo=UTC)
    offered = [
        Candidate(id=f"s{n:04d}", datetime=when, source="s", hrefs=("s",), fingerprint=str(n)) for n in range(2_500)
    ]
    monkeypatch.setattr(module, "search", lambda *_: (offered, []))
    project = Project(tmp_path / "project", source)
    found = project.swath("search", "--run", "r1")
    assert found["new"] == 2_500 and found["shards"] <= 1_024
    plan = read_plan(project.catalog, "r1")
    assert [one.id for n in range(found["shards"]) for one in plan.of_shard(n)] == [one.id for one in offered]


def test_a_corrected_scene_leaves_quarantine_and_a_changed_one_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    files = write_scene_files(folder / "s", offset=-1000)
    write_catalog(folder, [item("s", files, **{"earthsearch:boa_offset_applied": True})])
    project = Project(tmp_path / "project", folder)
    assert project.swath("all")["quarantined"] == 1 and "s" in project.reasons()
    write_catalog(folder, [item("s", files)])
    first = project.swath("all")
    assert first["ids"] == ["s"] and first["changed"] and not project.reasons()
    write_scene_files(folder / "s", offset=-1000, seed=9)
    second = project.swath("all")
    assert second["ids"] == ["s"] and second["changed"] and second["scenes"] == 1
    verify(read_scene(project.catalog, "s"), project.catalog)


@pytest.mark.parametrize("harm", ["gone", "empty"])
def test_a_scene_whose_item_is_lost_is_ingested_again(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "source"
    write_catalog(folder, [item(id, write_scene_files(folder / id, offset=-1000, seed=n)) for n, id in enumerate("st")])
    project = Project(tmp_path / "project", folder)
    assert project.swath("all")["ids"] == ["s", "t"]
    before = project.tree()
    if harm == "gone":
        shutil.rmtree(project.catalog / "scenes" / "t")
    else:
        (project.catalog / "scenes" / "t" / "t.json").write_text("")
    with pytest.raises(BadData, match="ingest the scene again"):
        list(read_scenes(project.catalog))
    assert project.swath("all")["ids"] == ["t"]
    assert project.tree() == before


def test_a_scene_in_quarantine_is_tried_again_when_a_person_asks(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    write_catalog(folder, [item(id, write_scene_files(folder / id, offset=-1000)) for id in ("s", "t")])
    project = Project(tmp_path / "project", folder)
    project.swath("search", "--run", "r1")
    for offered in read_plan(project.catalog, "r1").scenes:  # for a fault of the source that is over
        about = {"id": offered.id, "source": offered.source, "fingerprint": offered.fingerprint}
        quarantine.put(project.catalog, stage="fetch", reason="It was cut short.", **about)
    assert project.swath("all", "--run", "r2")["published"] == 0 and set(project.reasons()) == {"s", "t"}
    assert project.swath("all", "--run", "r3", "--retry", "t, unheard-of")["ids"] == ["t"]
    assert set(project.reasons()) == {"s"}
    assert project.swath("all", "--run", "r4", "--retry", "*")["ids"] == ["s"] and not project.reasons()


def test_run_ids_and_shards_are_checked(tmp_path: Path, source: Path) -> None:
    project = Project(tmp_path / "project", source)
    for run in ("../x", "a/b", ""):
        with pytest.raises(BadData, match="run id"):
            project.swath("search", "--run", run)
    project.swath("search", "--run", "scheduled__2024-07-01T00:00:00+00:00")
    with pytest.raises(BadData, match="shards 0 to 2"):
        project.swath("fetch", "--run", "scheduled__2024-07-01T00:00:00+00:00", "--shard", "3")


def test_the_plan_of_a_shard_is_that_of_this_shard_alone(tmp_path: Path) -> None:
    offered = [Candidate(id=f"s{i}", datetime=NOON, source="x", hrefs=("x",), fingerprint=str(i)) for i in range(5)]
    common = {"run": "r", "when": NOON, "area": None, "former": "", "refused": 0}
    plan = Plan(shard=2, scenes=tuple(offered), **common)
    write_plan(tmp_path, plan)
    for number in range(3):
        part = read_shard(tmp_path, "r", number)
        assert part.scenes == plan.of_shard(number) and part.when == plan.when
        assert (tmp_path / "staging" / "r" / "shards" / f"{number}.json").stat().st_size < 1000
    write_plan(tmp_path, plan.model_copy(update={"scenes": tuple(offered[:1])}))  # the same run, searched again
    assert [scene.id for scene in read_shard(tmp_path, "r", 0).scenes] == ["s0"]
    with pytest.raises(BadData, match="has the shards 0 to 0, not 1"):
        read_shard(tmp_path, "r", 1)
