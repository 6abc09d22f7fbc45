"""A year of daily runs, played with functions that the stages use: what is kept stops growing, but for what was made.

The clock stands still and every file grows older instead, so that nothing under test has to be told of another time.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.files import read_json, replacing, write_json
from pipelines.inference.plan import version_folder
from pipelines.inference.plan import write_plan as write_map_plan
from pipelines.scenes import quarantine, staging
from pipelines.scenes.catalog import read_scenes, write_index, write_item
from pipelines.scenes.scene import Scene
from pipelines.upkeep.cache import remove_cached
from pipelines.upkeep.models import remove_maps
from pipelines.upkeep.retention import remove_stale
from pipelines.workspace.ledger import append, read
from pipelines.workspace.source import resolve
from pipelines.workspace.workspace import open_workspace
from tests.builders import write_scene
from tests.workspace.conftest import Repository, repository

__all__ = ["repository"]  # a fixture
pytestmark = pytest.mark.slow

WEEK = 7 * 86_400
PROJECT = "demo"
LEDGER = f"swath-decisions/{PROJECT}"
TASKS = {"ingest_scenes": 5, "build_dataset": 8, "predict_scenes": 4, "monitor_drift": 4}
MADE = ("catalog/demo/scenes", "predictions/demo/v", "dvc/remote", "decisions.git", "source.git", "reports/demo/drift")


class Installation:
    """One project at work: a scene a day, a training every four weeks, and a process killed now and then."""

    def __init__(self, home: Path, scene: Scene) -> None:
        self.home, self.scene, self.champion, self.day = home, scene, 0, 0
        self.catalog, self.predictions = home / "catalog" / PROJECT, home / "predictions" / PROJECT
        self.drift = home / "reports" / PROJECT / "drift"
        self.trainings = 0

    def play_week(self) -> None:
        if self.day % 28 == 0:
            self.train()
        for _ in range(7):
            self.day += 1
            self.play_day()
        self.leave_halves()

    def play_day(self) -> None:
        id, run = f"scene-{self.day:03}", f"scheduled-{self.day:03}"
        plan = staging.Plan(run=run, when=datetime.now(UTC), area=None, shard=8, former="", refused=0, scenes=())
        staging.write_plan(self.catalog, plan)
        write_json(staging.folder(self.catalog, run) / "result.json", {"published": 1})
        folder = self.catalog / "scenes" / id
        folder.mkdir(parents=True)
        for name in ("image.tif", "mask.tif"):
            (folder / name).write_bytes(bytes(2_000))
        made = self.scene.model_copy(update={"id": id})
        write_item(folder, made, fingerprint=id, dated=True, bands=[{}] * len(made.bands))
        if self.day % 10 == 0:
            quarantine.put(self.catalog, id="odd", source="s", stage="fetch", reason="r", fingerprint=str(self.day))
        write_map_plan(self.predictions, run, self.champion, f"models:/{PROJECT}/{self.champion}", "d", [made], 8)
        self.map(id)
        for name, size in (("report.html", 30_000), ("comparison.json", 5_000), ("scenes.json", 500)):
            self.write(self.drift / run / name, size)
        for group in range(4):
            self.write(self.drift / run / "groups" / f"{group}.bin", 5_000)
        write_json(self.drift / run / "verdict.json", {"retrain": self.day % 180 == 0, "verdict": "none"})
        for dag, tasks in TASKS.items():
            for task in range(tasks):
                self.write(self.home / f"logs/tasks/dag_id={dag}/run_id={run}/task_id={task}/attempt=1.log", 3_000)
            self.write(self.home / f"logs/tasks/dag_processor/2026-{self.day:03}/dags-folder/{dag}.py.log", 3_000)
        with (self.home / "logs" / "scheduler.log").open("ab") as log:
            log.write(b"a line of forty characters, and its end\n" * 15_000)
        self.write(self.home / "notices" / f"{self.day}.json", 400)
        self.write(self.home / "atlas" / "composites" / f"{id}.tif", 4_000)

    def train(self) -> None:
        self.champion += 1
        self.trainings += 1
        append(LEDGER, lambda entries: {"version": str(len(entries) + 1)})
        for side in ("cache", "remote"):
            for number in range(5):
                name = f"{self.champion:02x}/{number:030x}"
                self.write(self.home / "dvc" / side / "files" / "md5" / name, 20_000)
        self.write(self.home / "bundles" / f"{self.champion:064x}" / "model.onnx", 50_000)
        self.write(self.home / "training" / f"{self.champion}" / "last.ckpt", 50_000)
        for scene in self.catalog.glob("scenes/*"):
            self.map(scene.name)

    def map(self, id: str) -> None:
        self.write(version_folder(self.predictions, self.champion) / id / "item.json", 1_000)

    def leave_halves(self) -> None:
        """What a week's kills leave: a draft of a map, a file of progress, a workspace whose run nobody ended."""
        if (child := os.fork()) == 0:
            with replacing(version_folder(self.predictions, self.champion) / f"killed-{self.day}") as draft:
                draft.mkdir()
                self.write(draft / "classes.tif", 1_000)
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        self.write(self.home / "progress" / f"train_model.{self.day}.json", 100)
        if self.day % 14 == 0:
            open_workspace(f"train_model.{self.day}", resolve(None))

    def write(self, path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))

    def grow_older(self) -> None:
        for top, _, files in os.walk(self.home, topdown=False):
            for path in (*(f"{top}/{name}" for name in files), top):
                was = os.lstat(path)
                os.utime(path, (was.st_atime - WEEK, was.st_mtime - WEEK), follow_symlinks=False)

    def weigh(self) -> Counter[str]:
        """Files and bytes of what was made, and of all else."""
        sizes: Counter[str] = Counter()
        for path in self.home.rglob("*"):
            if path.is_file():
                kind = "made" if str(path.relative_to(self.home)).startswith(MADE) else "kept"
                sizes[f"{kind} files"] += 1
                sizes[f"{kind} bytes"] += path.stat().st_size
        return sizes


def test_a_year_of_daily_runs_reaches_a_plateau_and_loses_nothing_that_was_made(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SWATH_CATALOG", "SWATH_PREDICTIONS", "SWATH_REPORTS", "AIRFLOW__LOGGING__BASE_LOG_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    template = write_scene(tmp_path / "template", np.ones((3, 8, 8), np.uint16))
    here = Installation(tmp_path / "home", template)
    weighed = []
    for _ in range(52):
        here.play_week()
        here.grow_older()
        remove_stale(30)
        remove_cached(30)
        remove_maps(PROJECT, here.champion, 3)
        weighed.append(here.weigh())
    for unit in ("files", "bytes"):
        early, late = (max(week[f"kept {unit}"] for week in weeks) for weeks in (weighed[8:20], weighed[40:]))
        assert late <= 1.05 * early, [week[f"kept {unit}"] for week in weighed]
    write_index(here.catalog, PROJECT)
    assert len(read_scenes(here.catalog)) == 364
    assert len(list(version_folder(here.predictions, here.champion).glob("[!.]*/item.json"))) == 364
    assert [path.name for path in sorted(here.predictions.glob("v*"))] == ["v10", "v11", "v12", "v13"]
    assert [entry.content["version"] for entry in read(LEDGER).entries] == [str(n + 1) for n in range(13)]
    assert len(list((here.home / "dvc" / "remote").rglob("0*"))) >= 5 * 13
    called = [run for run in here.drift.iterdir() if read_json(run / "verdict.json")["retrain"]]
    assert len(called) == 2 and (here.drift / "scheduled-364" / "report.html").exists()
    assert len(list(here.drift.iterdir())) < 40
