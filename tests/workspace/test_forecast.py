"""What a push would do is told before it does it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipelines.workspace.forecast import Forecast, forecast
from pipelines.workspace.release import release, released_lock
from pipelines.workspace.source import resolve
from pipelines.workspace.stage import reproduce
from pipelines.workspace.workspace import open_workspace
from tests.workspace.conftest import Repository

pytestmark = pytest.mark.slow  # each test calls dvc


def build(run: str) -> None:
    commit = resolve(None)
    folder = open_workspace(run, commit)
    chip = reproduce(folder, "chip", {}, released_lock("demo"))
    release(folder, run, "demo", commit, chip.lock)


@pytest.fixture
def built(repository: Repository) -> Repository:
    build("one")
    return repository


def after(repository: Repository, **files: str) -> Forecast:
    for name, text in files.items():
        repository.write(name.replace("__", "/").replace("_yaml", ".yaml").replace("_txt", ".txt"), text)
    repository.commit("Change")
    return forecast(None)


def test_before_the_first_version_all_runs(repository: Repository) -> None:
    told = forecast("main")
    assert told.since is None and told.builds and told.trains == "yes"
    assert told.runs == ("chip", "train", "evaluate") and told.reuses == ()


def test_what_is_built_is_reused(built: Repository) -> None:
    told = forecast(None)
    assert not told.builds and told.files == () and told.trains == "no"
    assert told.runs == () and told.reuses == ("chip", "train", "evaluate")


def test_a_training_parameter_trains_and_cuts_nothing(built: Repository) -> None:
    told = after(built, params_yaml="project: demo\ndata: {rows: 3}\ntrain: {lr: 2}\n")
    assert told.builds and told.files == ("params.yaml",) and told.trains == "yes"
    assert told.runs == ("train", "evaluate") and told.reuses == ("chip",)


def test_a_parameter_of_the_data_trains_if_they_differ_by_it(built: Repository) -> None:
    told = after(built, params_yaml="project: demo\ndata: {rows: 4}\ntrain: {lr: 1}\n")
    assert told.runs == ("chip", "train", "evaluate") and told.trains == "if the data differ"


def test_a_threshold_of_the_watch_trains_nothing(built: Repository) -> None:
    told = after(built, params_yaml="project: demo\ndata: {rows: 3}\ntrain: {lr: 1}\ndrift: {threshold: 0.3}\n")
    assert told.builds and told.trains == "no" and told.runs == ()


def test_code_alone_reruns_its_stages_once_something_starts_a_build(built: Repository) -> None:
    told = after(built, code__train_txt="two\n")
    assert not told.builds and told.runs == ("train", "evaluate")


def test_labels_that_are_not_in_the_remote_yet_are_named(built: Repository) -> None:
    (built.folder / "labels").mkdir()
    built.write("labels/fields.csv", "a,b\n")
    subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", "labels/fields.csv"], cwd=built.folder, check=True)
    built.commit("Label")
    told = forecast(None)
    assert "labels/fields.csv.dvc" in told.files
    assert told.missing == ("labels/fields.csv",)


def test_the_newest_version_itself_can_be_asked_about(built: Repository) -> None:
    told = forecast("swath/demo")
    assert told.runs == () and told.trains == "no"


def test_nothing_is_left_behind(built: Repository) -> None:
    from pipelines.config import settings

    before = sorted(p.name for p in (settings().home / "workspaces").iterdir())
    forecast(None)
    assert sorted(p.name for p in (settings().home / "workspaces").iterdir()) == before
