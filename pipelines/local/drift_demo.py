"""A changed stream arrives, drift is flagged, labels come, a push retrains, and the new champion recovers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import read_json
from pipelines.local.airflow_api import Airflow
from pipelines.local.annotator import label_and_push
from pipelines.local.chain import TaskState, run_events
from pipelines.local.recovery import Recovery, scores_of, watch_of
from pipelines.local.services import stop
from pipelines.sample.drift import Drift
from pipelines.sample.region import Order, make_region
from pipelines.workspace.git import git, is_repository
from pipelines.workspace.source import mirror, pin

# Haze as of fires nearby, a quarter of each pixel, over the place without labels: spring, twice summer, autumn.
CHANGED = Order(scenes=0, unlabelled=4, drift=Drift(kind="haze", strength=0.25))
PUSHED_LIMIT = 120  # seconds until the watcher has seen a push

_VERSIONS = ("heads/swath/*", "tags/dataset/*")  # what the pipeline itself has committed
_ARRIVAL = (
    ("ingest_scenes", "build_dataset"),  # which finds that no label covers the scenes, and trains nothing
    ("ingest_scenes", "predict_scenes"),
    ("predict_scenes", "monitor_drift"),
    ("monitor_drift", "train_model"),  # which finds that nothing is new to learn, as long as there are no labels
)
_LEARNING = (
    ("build_dataset", "train_model"),
    ("train_model", "predict_scenes"),
    ("predict_scenes", "monitor_drift"),
)
Say = Callable[[str], None]
See = Callable[[list[TaskState]], None]


def set_stage(checkout: Path, say: Say) -> None:
    """Point this process's settings to a home and a watched repository of the demonstration's own, both made anew.

    The repository holds ``checkout`` as it stands, uncommitted edits included, and the dataset versions so far; the
    DVC cache and remote stay those of the installation, so what `make run` has made is reused and nothing else of
    it is touched.
    """
    here = settings()
    commit, bare = pin(checkout).commit, mirror()
    home = here.home / "drift-demo"
    for name in [n for n in os.environ if n.startswith("SWATH_") and not n.endswith("_PORT")] + ["MLFLOW_TRACKING_URI"]:
        os.environ.pop(name, None)
    os.environ |= {
        "SWATH_HOME": str(home),
        "SWATH_GIT_REMOTE": str(home / "watched.git"),
        "SWATH_GIT_BRANCH": here.git_branch,
        "SWATH_DVC_REMOTE": here.dvc_remote,
        "SWATH_DVC_CACHE": str(here.dvc_cache),
        "SWATH_SCHEDULE": "off",  # a run at its hour would take the scenes before the one that is followed
    }
    stop()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    say(f"The demonstration has a repository and all else below {home}")
    if (made := here.home / "sample").is_dir():  # files are only ever replaced, so a link is as good as a copy
        shutil.copytree(made, home / "sample", copy_function=os.link)
    watched = Path(settings().git_remote)
    git("init", "--quiet", "--bare", f"--initial-branch={here.git_branch}", str(watched), at=home)
    held = checkout if is_repository(checkout) else bare
    git("fetch", "--quiet", str(held), f"{commit}:refs/heads/{here.git_branch}", at=watched)
    git("fetch", "--quiet", str(bare), *(f"refs/{kind}:refs/{kind}" for kind in _VERSIONS), at=watched)


def play(
    airflow: Airflow,
    project: str,
    order: Order,
    say: Say,
    see: See,
    overlay: dict[str, dict[str, object]] | None = None,
) -> Recovery:
    """The whole story in a running system that has a champion of the sample region.

    ``order`` makes the changed scenes; ``overlay`` is what the person changes in ``params.yaml`` beside the labels.
    Raises ``SwathError`` at the act that does not end as it should.
    """
    began = time.monotonic()
    sample = settings().home / "sample"
    say(f"{order.unlabelled} scenes arrive, changed by {order.drift}")
    make_region(sample, order)
    changed = {id for id, scene in read_json(sample / "sample.json")["scenes"].items() if scene["drift"]}
    arrival = run_events(airflow, ("ingest_scenes", airflow.trigger("ingest_scenes", {})), _ARRIVAL, see)
    before = watch_of(arrival["monitor_drift"], changed)
    say(before.sentence + (f" {before.cause}" if before.cause else ""))
    noticed = time.monotonic()

    earlier = {run["dag_run_id"] for run in airflow.runs("build_dataset")}
    queue = before.report.parent / "places.geojson"
    say(f"A person labels the {len(read_json(queue)['features'])} places of {queue.name} and pushes")
    commit = label_and_push(settings().home / "desk", sample, queue, project, overlay)
    build = _run_of_push(airflow, commit, earlier)
    labelled = time.monotonic()

    learning = run_events(airflow, ("build_dataset", build), _LEARNING, see)
    after = watch_of(learning["monitor_drift"], changed, before.feature)
    say(after.sentence)
    gate = learning["train_model"].results["gate"]
    return Recovery(
        old=before.version,
        new=after.version,
        scores=scores_of(project, before.version, after.version, changed),
        before=before,
        after=after,
        reasons=tuple(gate["reasons"]),
        commit=commit,
        seconds={
            "arrival to verdict": noticed - began,
            "labels and push": labelled - noticed,
            "push to the new champion's maps and verdict": time.monotonic() - labelled,
        },
    )


def _run_of_push(airflow: Airflow, commit: str, earlier: set[str]) -> str:
    deadline = time.monotonic() + PUSHED_LIMIT
    while time.monotonic() < deadline:
        for run in (run for run in airflow.runs("build_dataset") if run["dag_run_id"] not in earlier):
            if run["run_type"] == "asset_triggered":
                return str(run["dag_run_id"])
        time.sleep(0.5)
    raise SwathError(f"The push of {commit[:12]} started no build within {PUSHED_LIMIT} s; read logs/triggerer.log.")
