from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import zc.lockfile

from pipelines.config import settings
from pipelines.errors import BadData, SwathError
from pipelines.workspace.changes import relevant_changes
from pipelines.workspace.git import EMAIL
from pipelines.workspace.release import Release, Version, release, released_lock, released_revision, version_of
from pipelines.workspace.source import pin, resolve, resolve_newest
from pipelines.workspace.stage import StageResult, add_lock, reproduce
from pipelines.workspace.workspace import close_workspace, open_workspace, run_name
from tests.workspace.conftest import Repository

pytestmark = pytest.mark.slow  # each test calls dvc several times, at about a second each


def build(run: str, revision: str | None = None) -> tuple[StageResult, Release]:
    commit = resolve(revision)
    folder = open_workspace(run, commit)
    chip = reproduce(folder, "chip", {}, released_lock("demo"))
    return chip, release(folder, run, "demo", commit, chip.lock)


def test_a_dataset_is_committed_and_tagged_once(repository: Repository) -> None:
    chip, first = build("one")
    assert not chip.reused and first.changed
    assert first.tag == "dataset/demo/v1"
    assert repository.git("show", "-s", "--format=%ae", first.revision) == EMAIL
    assert chip.outputs["data/chips"] in repository.git("show", f"{first.tag}:dvc.lock")
    chip, second = build("two")
    assert chip.reused and not second.changed
    assert second.revision == first.revision
    assert repository.git("tag", "--list") == first.tag


def test_a_hash_of_data_leads_back_to_the_version_its_commit_and_its_run(repository: Repository) -> None:
    _, first = build("build_dataset.monday")
    found = version_of("demo", first.dataset)
    assert found == Version(
        tag="dataset/demo/v1", revision=first.revision, source=first.source, run="build_dataset.monday"
    )
    assert version_of("demo", "0" * 32 + ".dir") is None


def test_the_same_run_asked_again_gives_the_same_answer(repository: Repository) -> None:
    _, first = build("one")
    _, again = build("one")
    assert again == first, "a retried task must not lose the event that its killed predecessor owed"


def test_a_training_parameter_makes_a_revision_but_no_new_data(repository: Repository) -> None:
    _, first = build("one")
    repository.write("params.yaml", "project: demo\ndata: {rows: 3}\ntrain: {lr: 2}\n")
    repository.commit("Train harder")
    chip, second = build("two")
    assert chip.reused
    assert second.changed and second.tag == first.tag and second.revision != first.revision


def test_a_change_of_words_starts_nothing(repository: Repository) -> None:
    _, first = build("one")
    repository.write("README.md", "words\n")
    repository.commit("Explain")
    _, second = build("two")
    assert not second.changed and second.revision == first.revision


def test_a_parameter_of_the_gate_makes_a_revision_that_trains_nothing(repository: Repository) -> None:
    _, first = build("one")
    repository.write("params.yaml", "project: demo\ndata: {rows: 3}\ntrain: {lr: 1}\ngate: {approval: true}\n")
    later = repository.commit("Ask a person")
    _, second = build("two")
    assert not second.changed and second.revision != first.revision
    assert released_revision(later) == second.revision, "the gate must see the parameters of today"


def test_a_run_that_is_cleared_releases_what_it_made_anew(repository: Repository) -> None:
    _, first = build("one")
    repository.write("params.yaml", "project: demo\ndata: {rows: 8}\ntrain: {lr: 1}\n")
    repository.commit("More rows")
    chip, again = build("one")
    assert again.changed and again.revision != first.revision
    assert chip.outputs["data/chips"] in repository.git("show", f"{again.revision}:dvc.lock")


def test_a_lock_of_a_desk_is_not_trained_on(repository: Repository) -> None:
    _, first = build("one")
    repository.write("dvc.lock", repository.git("show", f"{first.revision}:dvc.lock").replace("rows: 3", "rows: 9"))
    repository.commit("Lock what I made at my desk")
    assert released_revision(None) == first.revision


def test_changed_data_are_a_new_version(repository: Repository) -> None:
    build("one")
    repository.write("params.yaml", "project: demo\ndata: {rows: 8}\ntrain: {lr: 1}\n")
    repository.commit("More rows")
    repository.git("tag", "dataset/demo/v1-reviewed", "dataset/demo/v1^{commit}")  # a person's own
    _, second = build("two")
    assert second.changed and second.tag == "dataset/demo/v2"


def test_another_machine_brings_what_it_needs_from_the_remote(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, made = build("one")
    monkeypatch.setenv("SWATH_DVC_REMOTE", settings().dvc_remote)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "elsewhere"))
    folder = open_workspace("train", resolve(made.revision))
    train = reproduce(folder, "train", {}, {})
    assert not train.reused
    assert (folder / "data" / "model").read_text() == "one\n" + (folder / "data" / "chips" / "index").read_text()
    close_workspace("train")
    folder = open_workspace("evaluate", resolve(made.revision))
    assert not reproduce(folder, "evaluate", train.lock, {}).reused


def test_a_stage_waits_for_another_that_pulls_into_the_same_workspace(repository: Repository) -> None:
    folder = open_workspace("one", resolve(None))
    (folder / ".dvc" / "tmp").mkdir(exist_ok=True)
    held = zc.lockfile.LockFile(str(folder / ".dvc" / "tmp" / "lock"))
    done = threading.Timer(6, held.close)  # DVC itself gives up after three seconds
    done.start()
    assert not reproduce(folder, "chip", {}, {}).reused
    assert done.finished.is_set()


def test_data_that_never_reached_the_remote_are_named(repository: Repository) -> None:
    _, made = build("one")
    shutil.rmtree(settings().dvc_remote)
    shutil.rmtree(settings().dvc_cache)
    close_workspace("one")
    with pytest.raises(SwathError, match=r"data/chips.*dvc push"):
        reproduce(open_workspace("train", resolve(made.revision)), "train", {}, {})


def test_training_is_given_the_dataset_of_its_commit(repository: Repository) -> None:
    with pytest.raises(BadData, match="no dataset version yet"):
        released_revision(None)
    start = resolve(None)
    _, first = build("one")
    repository.write("params.yaml", "project: demo\ndata: {rows: 8}\ntrain: {lr: 1}\n")
    later = repository.commit("More rows")
    _, second = build("two")
    assert released_revision(start) == first.revision
    assert released_revision(later) == released_revision(None) == second.revision
    assert released_revision(first.revision) == first.revision


def test_training_by_name_is_given_no_other_recipe(repository: Repository) -> None:
    _, first = build("one")
    repository.write("README.md", "words\n")
    words = repository.commit("Explain")
    assert released_revision(words) == first.revision
    repository.git("switch", "--quiet", "--create", "lower-lr")
    repository.write("params.yaml", "project: demo\ndata: {rows: 3}\ntrain: {lr: 0.001}\n")
    lower = repository.commit("Lower it")
    with pytest.raises(BadData, match=r"lower-lr.*params\.yaml; run build_dataset"):
        released_revision("lower-lr")
    assert released_revision(lower, exact=False) == first.revision, "an event stands for what its branch has come to"


def test_an_event_stands_for_what_its_branch_has_come_to(repository: Repository) -> None:
    """Airflow tells one event where several came, and not always the last."""
    start = resolve(None)
    repository.write("code/train.txt", "edited at a desk")
    pinned = pin(repository.folder).commit
    _, first = build("one", pinned)
    repository.git("checkout", "--quiet", "code")
    repository.write("params.yaml", "project: demo\ndata: {rows: 8}\ntrain: {lr: 1}\n")
    later = repository.commit("More rows")
    _, second = build("two")
    assert resolve_newest(start) == resolve_newest(later) == later
    assert resolve_newest(first.revision) == resolve_newest(second.revision) == second.revision
    assert resolve_newest(pinned) == pinned


def test_what_was_built_of_another_branch_is_trained_for_nobody_who_did_not_ask_for_it(repository: Repository) -> None:
    _, first = build("one")
    repository.git("switch", "--quiet", "--create", "try")
    repository.write("params.yaml", "project: demo\ndata: {rows: 3}\ntrain: {lr: 99}\n")
    repository.commit("Try something wild")
    _, tried = build("two", "try")
    assert tried.changed and released_revision("try") == tried.revision
    repository.git("switch", "--quiet", "main")
    assert resolve_newest(first.revision) == first.revision, "an event of the watched branch"
    repository.write("README.md", "words\n")
    words = repository.commit("Explain")
    assert released_revision(None) == released_revision(words) == first.revision
    assert resolve_newest(tried.revision) == tried.revision
    _, third = build("three")
    assert resolve_newest(first.revision) == third.revision == released_revision(None)


def test_a_run_that_is_cleared_after_others_owes_its_event_and_takes_nobody_s_place(repository: Repository) -> None:
    _, first = build("one")
    repository.write("params.yaml", "project: demo\ndata: {rows: 3}\ntrain: {lr: 2}\ngate: {approval: true}\n")
    repository.commit("Train harder")
    _, second = build("two")
    _, again = build("one", first.source)
    assert again == first
    assert released_revision(None) == resolve_newest(first.revision) == second.revision
    folder = open_workspace("three", first.source)
    add_lock(folder, reproduce(folder, "chip", {}, released_lock("demo")).lock)
    old = release(folder, "three", "demo", first.source, {})  # an older commit, built anew by another run
    assert released_revision(None) == resolve_newest(second.revision) == second.revision != old.revision


def test_labels_in_git_decide_too(repository: Repository) -> None:
    _, first = build("one")
    (repository.folder / "labels").mkdir()
    repository.write("labels/keep.geojson", "{}")
    drawn = repository.commit("Keep more ground")
    with pytest.raises(BadData, match=r"labels/keep\.geojson; run build_dataset"):
        released_revision(drawn)
    assert relevant_changes(first.source, drawn) == ["labels/keep.geojson"]
    repository.write("labels/README.md", "words\n")
    assert relevant_changes(drawn, repository.commit("Explain")) == []


def test_a_person_who_signs_tags_signs_none_of_the_pipeline_s(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[tag]\n\tgpgSign = true\n[gpg]\n\tprogram = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    assert build("one")[1].tag == "dataset/demo/v1"


def test_runs_with_long_names_have_folders_of_their_own(repository: Repository) -> None:
    names = [run_name("build_dataset", f"manual__{'x' * 300}{end}") for end in "ab"]
    assert names[0] != names[1] and all(len(name) <= 160 for name in names)
    build("one")
    repository.write("params.yaml", "project: demo\ndata: {rows: 8}\ntrain: {lr: 1}\n")
    repository.commit("More rows")
    assert build(names[0])[1].changed


def test_a_stage_that_fails_says_so(repository: Repository) -> None:
    text = (repository.folder / "dvc.yaml").read_text().replace("mkdir -p data/chips &&", "false &&")
    repository.write("dvc.yaml", text)
    repository.commit("Break")
    with pytest.raises(SwathError, match="chip"):
        build("one")


def test_all_that_a_stage_says_of_its_failure_is_told(repository: Repository) -> None:
    repository.write("says", "swath: chips are bad:\n  a\n  b\n")
    says = "cat says >&2 && false &&"
    text = (repository.folder / "dvc.yaml").read_text().replace("mkdir -p data/chips &&", says)
    repository.write("dvc.yaml", text)
    repository.commit("Break")
    with pytest.raises(SwathError, match=r"failed: chips are bad: a b$"):
        build("one")


def test_equal_results_are_equal_locks_whichever_stage_ended_first(repository: Repository) -> None:
    entry = {"cmd": "x", "deps": [{"path": "a", "md5": "1"}], "outs": [{"path": "b", "md5": "2"}]}
    turned = {"outs": [{"md5": "2", "path": "b"}], "deps": [{"md5": "1", "path": "a"}], "cmd": "x"}
    locks = []
    for name, stages in (("one", ("chip", "train", "evaluate")), ("two", ("train", "evaluate", "chip"))):
        folder = open_workspace(name, resolve(None))
        for stage in stages:
            add_lock(folder, {stage: entry if stage == "chip" or name == "one" else turned})
        locks.append((folder / "dvc.lock").read_bytes())
    assert locks[0] == locks[1]
