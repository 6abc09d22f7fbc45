"""The person who labels: a clone of the watched repository, labels where the queue asks for them, and a push."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import yaml

from pipelines.config import merged_params, settings
from pipelines.errors import BadData, SwathError
from pipelines.files import read_json, write_text
from pipelines.sample.acquisition import UNLABELLED
from pipelines.sample.ground import make_ground
from pipelines.sample.labels import label_table, write_labels
from pipelines.workspace.git import git
from pipelines.workspace.release import branch_of

REACH = 960.0  # metres; a person who is at a place labels what lies around it too
# More of the new ground for the test than of the old: on three blocks in fourteen no gain can be told from chance.
_SHARES = {"train": 0.55, "val": 0.18, "test": 0.27}
_LABELS, _BLOCKS = "labels/classes", "labels/blocks.parquet"
_PERSON = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ana the annotator"), ("EMAIL", "ana@example.org"))
}


def label_and_push(
    desk: Path, sample: Path, queue: Path, project: str, overlay: dict[str, dict[str, object]] | None = None
) -> str:
    """Label the sample region's third place where ``queue`` asks for it, and push; returns the commit.

    ``desk`` becomes a clone of the watched repository. What is committed there is what a person would commit: the
    labels so far and the new ones, tracked by DVC, and in ``params.yaml`` where they are and that the blocks of the
    last dataset keep their split, while more of the new ground goes to the test; ``overlay`` changes more of it. The
    data are pushed before the commit. Raises ``BadData`` where the queue asks for nothing at that place.
    """
    here = settings()
    shutil.rmtree(desk, ignore_errors=True)
    desk.parent.mkdir(parents=True, exist_ok=True)
    git("clone", "--quiet", "--branch", here.git_branch, here.git_remote, str(desk), at=desk.parent)
    _dvc(desk, "remote", "modify", "--local", "swath", "url", here.dvc_remote)

    (desk / _LABELS).mkdir(parents=True)
    shutil.copyfile(sample / "labels.gpkg", desk / _LABELS / "region.gpkg")
    write_labels(desk / _LABELS / "queue.gpkg", _truth_around(queue, sample))
    _former_blocks(desk, project)

    changes: dict[str, dict[str, object]] = {
        "labels": {"source": _LABELS},
        "split": {"keep": _BLOCKS, "fractions": _SHARES},
    }
    for section, values in (overlay or {}).items():
        changes[section] = changes.get(section, {}) | values
    write_text(desk / ".git" / "changes.yaml", yaml.safe_dump(changes))
    write_text(desk / "params.yaml", merged_params(desk / "params.yaml", desk / ".git" / "changes.yaml"))
    _dvc(desk, "add", "--quiet", _LABELS, _BLOCKS)
    _dvc(desk, "push", "--quiet", _LABELS, _BLOCKS)
    git("add", "labels", "params.yaml", at=desk)
    git("commit", "--quiet", "-m", "Label the places that the drift watch asks for", at=desk, env=_PERSON)
    git("push", "--quiet", "origin", f"HEAD:{here.git_branch}", at=desk)
    return git("rev-parse", "HEAD", at=desk)


def _truth_around(queue: Path, sample: Path) -> gpd.GeoDataFrame:
    """The sample region's truth within ``REACH`` of the queue's places, as a label table."""
    region = read_json(sample / "sample.json")
    truth = label_table({UNLABELLED: make_ground(region["seed"], UNLABELLED.name, region["size"])}).to_crs(
        UNLABELLED.epsg
    )
    places = gpd.read_file(queue).to_crs(UNLABELLED.epsg)
    around = places.buffer(REACH, cap_style="square", join_style="mitre").union_all()
    found = gpd.clip(truth, around, keep_geom_type=True)
    if found.empty:
        raise BadData(f"{queue} asks for no place of {UNLABELLED.name}, where labels are lacking; look at its report.")
    return found.to_crs("EPSG:4326")


def _former_blocks(desk: Path, project: str) -> None:
    """Bring the blocks of the last dataset version beside the labels."""
    lock = git("show", f"origin/{branch_of(project)}:dvc.lock", at=desk)
    write_text(desk / "dvc.lock", f"{lock}\n")
    _dvc(desk, "pull", "--quiet", "data/blocks.parquet")
    shutil.copyfile(desk / "data" / "blocks.parquet", desk / _BLOCKS)
    (desk / "dvc.lock").unlink()


def _dvc(desk: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=desk, env=os.environ, capture_output=True, text=True)
    if done.returncode != 0:
        raise SwathError(f"dvc {' '.join(arguments)} failed in {desk}: {done.stderr.strip()}")
