"""Dataset versions one after another: what the last of them costs, by the commands that Airflow runs for each."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.scales.measure import ROOT, Cost, command
from pipelines.cli.result import RESULT_FILE

_STAGES = """
stages:
  chip:
    cmd: mkdir -p data/chips && for i in 1 2 3 4 5 6 7 8; do cat params.yaml > data/chips/$i; done
    params: [split.seed]
    outs: [data/chips]
  train: {cmd: wc data/chips/1 > data/model, deps: [data/chips], outs: [data/model]}
  evaluate: {cmd: wc data/model > data/score, deps: [data/model], outs: [data/score]}
"""  # a release compares what the last two would do, and nothing here runs them


def costs(count: int) -> Iterator[tuple[str, Cost]]:
    """What a stage and the release cost for the last of ``count`` versions, each of other data than the one before."""
    with tempfile.TemporaryDirectory() as scratch:
        home, watched = Path(scratch) / "home", Path(scratch) / "watched"
        home.mkdir()
        _begin(watched)
        answer = home / "result.json"
        places = {"SWATH_HOME": str(home), "SWATH_GIT_REMOTE": str(watched), RESULT_FILE: str(answer)}
        staged = released = Cost(0, 0)
        for number in range(count):
            _write_params(watched, number)
            _git(watched, "commit", "--quiet", "--all", "-m", f"Revision {number}")
            run = f"run-{number}"
            staged = command(("-m", "pipelines", "stage", "chip", "--run", run), home, places)
            lock = json.dumps(json.loads(answer.read_text())["lock"])
            released = command(("-m", "pipelines", "release", "--run", run, "--lock", lock), home, places)
        yield "stage", staged
        yield "release", released


def _begin(watched: Path) -> None:
    (watched / ".dvc").mkdir(parents=True)
    (watched / ".dvc" / "config").write_text("[core]\n    remote = swath\n    analytics = false\n")
    (watched / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (watched / ".gitignore").write_text("/data/\n")
    _write_params(watched, -1)
    (watched / "dvc.yaml").write_text(_STAGES)
    _git(watched, "init", "--quiet", "--initial-branch=main")
    _git(watched, "add", "--all")
    _git(watched, "commit", "--quiet", "-m", "Begin")


def _write_params(watched: Path, seed: int) -> None:
    value = yaml.safe_load((ROOT / "params.yaml").read_text())
    value["split"]["seed"] = seed
    (watched / "params.yaml").write_text(yaml.safe_dump(value))


def _git(at: Path, *arguments: str) -> None:
    name = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org"}
    name |= {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"}
    subprocess.run(["git", *arguments], cwd=at, env=os.environ | name, check=True)
