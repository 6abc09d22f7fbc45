"""Experiments that a person ran at a desk and sent by ``dvc exp push``, found by name in the watched repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import BadData
from pipelines.workspace.git import git
from pipelines.workspace.release import release, released_lock, released_revision
from pipelines.workspace.source import mirror, resolve
from pipelines.workspace.stage import reproduce
from pipelines.workspace.workspace import open_workspace
from tests.workspace.conftest import Repository

pytestmark = pytest.mark.slow  # each call of dvc takes a second or more


@pytest.fixture
def desk(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A checkout whose origin, a bare repository, is watched."""
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "central.git"))
    repository.git("remote", "add", "origin", str(tmp_path / "central.git"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "central.git"))
    (repository.folder / ".dvc" / "config.local").write_text(f"['remote \"swath\"']\n    url = {tmp_path / 'store'}\n")
    return repository


def dvc(desk: Repository, *words: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *words]
    subprocess.run(command, cwd=desk.folder, env=os.environ | {"PATH": path}, check=True, capture_output=True)


def sent(desk: Repository, name: str, rate: int) -> str:
    """The commit of an experiment that was run and pushed."""
    dvc(desk, "exp", "run", "--quiet", "--name", name, "--set-param", f"train.lr={rate}")
    dvc(desk, "exp", "push", "--quiet", "origin", name)
    (ref,) = [line for line in refs(desk) if line.endswith(f"/{name}")]
    desk.git("checkout", "--quiet", "--force", "HEAD")
    return desk.git("rev-parse", ref)


def refs(desk: Repository) -> list[str]:
    return desk.git("for-each-ref", "--format=%(refname)", "refs/exps").split()


def test_an_experiment_is_found_by_its_name_its_ref_and_its_hash(desk: Repository) -> None:
    commit = sent(desk, "puffy-daks", 7)
    (ref,) = [line for line in refs(desk) if line.endswith("/puffy-daks")]
    assert {resolve(asked) for asked in ("puffy-daks", ref, commit, commit[:12])} == {commit}
    assert "lr: 7" in git("show", f"{commit}:params.yaml", at=mirror())
    assert "lr: 1" in git("show", f"{resolve(None)}:params.yaml", at=mirror()), "the watched branch is as it was"


def test_an_experiment_is_built_and_then_trained_exactly_as_it_is(desk: Repository) -> None:
    main = resolve(None)
    folder = open_workspace("first", main)
    release(folder, "first", "demo", main, reproduce(folder, "chip", {}, {}).lock)
    commit = sent(desk, "puffy-daks", 7)
    with pytest.raises(BadData, match=r"built from puffy-daks.* params\.yaml; run build_dataset"):
        released_revision("puffy-daks")
    folder = open_workspace("second", resolve("puffy-daks"))
    chip = reproduce(folder, "chip", {}, released_lock("demo"))
    made = release(folder, "second", "demo", commit, chip.lock)
    assert chip.reused and made.changed and made.source == commit and made.tag == "dataset/demo/v1"
    assert released_revision("puffy-daks") == made.revision != released_revision(main)
    folder = open_workspace("train", made.revision)
    reproduce(folder, "train", {}, {})
    assert "lr: 7" in (folder / "params.yaml").read_text() and (folder / "data" / "model").exists()


def test_an_experiment_pushed_anew_is_taken_as_it_is_now(desk: Repository) -> None:
    first = sent(desk, "puffy-daks", 7)
    (ref,) = [line for line in refs(desk) if line.endswith("/puffy-daks")]
    assert resolve(ref) == first
    dvc(desk, "exp", "run", "--quiet", "--force", "--name", "puffy-daks", "--set-param", "train.lr=8")
    dvc(desk, "exp", "push", "--quiet", "--force", "origin", "puffy-daks")
    desk.git("checkout", "--quiet", "--force", "HEAD")
    assert resolve(ref) == resolve("puffy-daks") == desk.git("rev-parse", ref) != first


def test_one_that_was_not_pushed_is_told_how_to_be(desk: Repository) -> None:
    dvc(desk, "exp", "run", "--quiet", "--name", "stays-here", "--set-param", "train.lr=7")
    with pytest.raises(BadData, match="`dvc exp push`"):
        resolve("stays-here")


def test_a_name_that_two_baselines_share_is_not_guessed(desk: Repository) -> None:
    sent(desk, "puffy-daks", 7)
    desk.write("README.md", "words\n")
    desk.commit("Explain")
    dvc(desk, "exp", "run", "--quiet", "--name", "puffy-daks", "--set-param", "train.lr=8")
    dvc(desk, "exp", "push", "--quiet", "origin", *[line for line in refs(desk) if line.endswith("/puffy-daks")])
    with pytest.raises(BadData, match="There are 2 experiments 'puffy-daks'"):
        resolve("puffy-daks")
