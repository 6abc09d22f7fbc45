from __future__ import annotations

import os

import pytest

from deploy import push_hook
from pipelines.workspace.changes import relevant_changes, tip
from pipelines.workspace.git import IDENTITY
from tests.workspace.conftest import Repository


def test_only_files_that_decide_what_is_computed_count(repository: Repository) -> None:
    start = repository.git("rev-parse", "HEAD")
    repository.write("README.md", "words\n")
    assert relevant_changes(start, repository.commit("Explain")) == []
    repository.write("labels.gpkg.dvc", "outs: []\n")
    repository.write("params.yaml", "project: demo\ndata: {rows: 5}\ntrain: {lr: 1}\n")
    assert relevant_changes(start, repository.commit("Change")) == ["labels.gpkg.dvc", "params.yaml"]
    assert tip() == repository.git("rev-parse", "HEAD")
    before = tip()
    (repository.folder / "labels").mkdir()
    for name in ("dvc.lock", "labels/parcels.gpkg"):
        repository.write(name, "schema: '2.0'\n")
    repository.write("labels/README.md", "words\n")
    assert relevant_changes(str(before), repository.commit("Lock at a desk")) == ["dvc.lock", "labels/parcels.gpkg"]


def test_the_pipelines_own_commits_do_not_count(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    start = repository.git("rev-parse", "HEAD")
    repository.write("dvc.lock", "schema: '2.0'\n")
    for name, value in IDENTITY.items():
        monkeypatch.setitem(os.environ, name, value)
    own = repository.commit("Lock")
    assert relevant_changes(start, own) == []


def test_authors_without_an_address_and_names_in_any_script_count(repository: Repository) -> None:
    start = repository.git("rev-parse", "HEAD")
    for name in (b"stra\xc3\x9fe.gpkg.dvc", b"latin-\xe9.gpkg.dvc", b"a b\tc.gpkg.dvc"):
        (repository.folder / os.fsdecode(name)).write_text("outs: []\n")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "-m", "Labels", "--author", "X <>")
    now = repository.git("rev-parse", "HEAD")
    assert relevant_changes(start, now) == ["a b\tc.gpkg.dvc", "latin-\ufffd.gpkg.dvc", "straße.gpkg.dvc"]
    assert set(relevant_changes("0" * 40, now)) >= {"a b\tc.gpkg.dvc", "straße.gpkg.dvc"}
    sent = push_hook.pushed([f"{start} {now} refs/heads/main"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository.folder)
        [(revision, files)] = sent
    assert revision == now and len(files) == 3


def test_a_merge_counts_with_what_it_brings(repository: Repository) -> None:
    start = repository.git("rev-parse", "HEAD")
    repository.git("switch", "--quiet", "--create", "side")
    repository.write("dvc.yaml", (repository.folder / "dvc.yaml").read_text() + "# more\n")
    repository.commit("Side")
    repository.git("switch", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "-m", "Merge", "side")
    merged = repository.git("rev-parse", "HEAD")
    assert relevant_changes(start, merged) == ["dvc.yaml"]
    repository.git("switch", "--quiet", "--create", "words", start)
    repository.write("README.md", "words\n")
    repository.commit("Words")
    repository.git("switch", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--no-commit", "words")
    repository.write("params.yaml", "project: demo\ndata: {rows: 6}\ntrain: {lr: 1}\n")
    assert relevant_changes(merged, repository.commit("A merge with a change of its own")) == ["params.yaml"]


def test_a_push_by_force_counts_with_what_it_took_away(repository: Repository) -> None:
    start = repository.git("rev-parse", "HEAD")
    repository.write("params.yaml", "project: demo\ndata: {rows: 5}\ntrain: {lr: 1}\n")
    dropped = repository.commit("Change")
    assert tip() == dropped
    repository.git("reset", "--quiet", "--hard", start)
    assert tip() == start
    assert relevant_changes(dropped, start) == ["params.yaml"]
    repository.write("README.md", "words\n")
    assert relevant_changes(dropped, repository.commit("Explain")) == ["params.yaml"]


def test_rewritten_history_counts_as_all_new(repository: Repository) -> None:
    gone = "0123456789012345678901234567890123456789"
    assert "params.yaml" in relevant_changes(gone, repository.git("rev-parse", "HEAD"))
