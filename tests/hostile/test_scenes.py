"""One good scene among all the bad ones of a catalog comes out as if it were alone; each bad one is told of."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.files import sha256
from pipelines.scenes.catalog import read_scenes
from pipelines.scenes.quarantine import records
from tests.hostile.cases import Case
from tests.hostile.documents import DOCUMENTS
from tests.hostile.items import GOOD, ITEMS
from tests.hostile.scenes import SCENES, Item, good_item
from tests.hostile.sizes import SIZES
from tests.scenes.sources import write_catalog
from tests.scenes.test_ingest import Project

_MEMORY = 3 * 2**30  # bytes that the process may address
REMEDY = re.compile(
    r"\b(correct|rename|repair|warp|georeference|write|state|set|use|give|name|store|cut|ask|move|take|fetch|flatten"
    r"|check|announce|leave|convert|export|assign|keep|params)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Told:
    """What a run said of each item, by the file of the item, and what it published, by path and hash."""

    reasons: dict[str, str]
    published: dict[str, str]
    ids: list[str]
    spilled: set[Path]


def tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def told(project: Project) -> Told:
    return Told(
        reasons={record.source: record.reason for record in records(project.catalog)},
        published=tree(project.catalog / "scenes" / GOOD),
        ids=[scene.id for scene in read_scenes(project.catalog)],
        spilled=set(),
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "source"


@pytest.fixture(scope="module")
def good(source: Path) -> Item:
    return good_item(source / GOOD, GOOD)


@pytest.fixture(scope="module")
def alone(source: Path, good: Item) -> dict[str, str]:
    """The good scene, ingested by itself."""
    write_catalog(source, [good])
    project = Project(source.parent / "alone", source)
    project.swath("all")
    return told(project).published


@pytest.fixture(scope="module")
def among_all(source: Path, good: Item, alone: dict[str, str]) -> Told:
    """The same scene in a catalog with every bad item there is."""
    folder = source.parent
    scratch = folder / "scratch"
    scratch.mkdir()
    documents = [good]
    documents += [case.write(source / case.name, case.name) for case in (*SCENES, *ITEMS)]
    catalog = write_catalog(source, documents)
    content = json.loads(catalog.read_text())
    content["links"] += [{"rel": "item", "href": str(case.write(source))} for case in DOCUMENTS]
    catalog.write_text(json.dumps(content))
    project = Project(folder / "among", source)
    before = everything(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        patch.setattr("tempfile.tempdir", None)
        project.swath("all")
    found = told(project)
    home = project.folder / "home"
    return Told(found.reasons, found.published, found.ids, everything(folder) - before - {home, *home.rglob("*")})


def everything(folder: Path) -> set[Path]:
    return set(folder.parent.rglob("*"))


def test_the_good_scene_is_what_it_is_alone(alone: dict[str, str], among_all: Told) -> None:
    assert among_all.published == alone and len(alone) == 3


def test_nothing_is_written_outside_of_the_home(among_all: Told) -> None:
    assert among_all.spilled == set()


@pytest.mark.parametrize(
    ("place", "case"), [pytest.param(i, case, id=case.name) for i, case in enumerate((*SCENES, *ITEMS), 1)]
)
def test_an_item(among_all: Told, place: int, case: Case) -> None:
    reasons = [reason for source, reason in among_all.reasons.items() if source.endswith(f"/item{place}.json")]
    if case.expects is None:
        assert not reasons and case.name in among_all.ids
        return
    [reason] = reasons
    assert re.search(case.expects, reason, re.DOTALL), reason
    assert REMEDY.search(reason) and reason.endswith("."), reason
    assert case.name not in among_all.ids


@pytest.mark.parametrize("case", DOCUMENTS, ids=lambda case: case.name)
def test_a_document(among_all: Told, case: Case, tmp_path: Path) -> None:
    name = case.write(tmp_path).name
    reasons = [r for source, r in among_all.reasons.items() if re.search(rf"/(deep\d+|{re.escape(name)})", source)]
    assert reasons or case.expects is None
    if case.expects:
        assert any(re.search(case.expects, reason) and REMEDY.search(reason) for reason in reasons), reasons


def test_scenes_that_would_fill_memory_or_disk(
    tmp_path: Path, source: Path, good: Item, alone: dict[str, str], among_all: Told
) -> None:
    write_catalog(source, [good] + [case.write(source / case.name, case.name) for case in SIZES])
    project = Project(tmp_path / "project", source)
    for command in (["search"], ["fetch", "--shard", "0"], ["fetch", "--shard", "1"], ["fetch", "--shard", "2"]):
        subprocess.run(
            [sys.executable, "-m", "pipelines", "ingest", *command, "--run", "r"],
            cwd=project.folder,
            env=os.environ | {"SWATH_HOME": str(project.folder / "home"), "PYTHONPATH": str(Path(__file__).parents[2])},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY)),
            timeout=600,
            check=True,
        )
    reasons = {record.id: record.reason for record in records(project.catalog)}
    for case in SIZES:
        assert case.expects and re.search(case.expects, reasons[case.name]), (case.name, reasons.get(case.name))
        assert REMEDY.search(reasons[case.name])
    assert tree(project.catalog / "staging" / "r" / "scenes" / GOOD) == alone
    assert sum(p.stat().st_size for p in project.catalog.rglob("*") if p.is_file()) < 10**7
