from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


class Repository:
    """A small git repository with a DVC pipeline of its own, whose stages write what its parameters say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")
        (folder / ".dvc").mkdir()
        (folder / ".dvc" / "config").write_text("[core]\n    remote = swath\n    analytics = false\n")
        (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
        (folder / ".gitignore").write_text("/data/\n")
        (folder / "params.yaml").write_text("project: demo\ndata: {rows: 3}\ntrain: {lr: 1}\n")
        (folder / "code").mkdir()
        (folder / "code" / "train.txt").write_text("one\n")
        (folder / "dvc.yaml").write_text(_STAGES)
        self.commit("Begin")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)
        return self.git("rev-parse", "HEAD")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


_STAGES = """
stages:
  chip:
    cmd: mkdir -p data/chips && grep rows params.yaml > data/chips/index
    params: [data]
    outs: [data/chips]
  train:
    cmd: cat code/train.txt data/chips/index > data/model
    params: [train]
    deps: [code, data/chips]
    outs: [data/model]
  evaluate:
    cmd: wc -c data/model > data/score
    deps: [data/model]
    outs: [data/score]
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "checkout")
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(made.folder))
    for name in ("SWATH_DVC_REMOTE", "SWATH_DVC_CACHE", "SWATH_GIT_BRANCH", "SWATH_REVISION", "SWATH_LOCK"):
        monkeypatch.delenv(name, raising=False)
    return made
