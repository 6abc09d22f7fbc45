"""This checkout elsewhere: its files, a repository of them, and parameters for the smallest region."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

# The smallest region on which every stage still has something to do. A model of two epochs beats no baseline, so there
# is none, and no floor: the first model becomes champion and its maps are made.
SMALL: dict[str, dict[str, object]] = {
    "chips": {"size": 32, "stride": 32},
    "split": {"block": 1280},
    "train": {"epochs": 2, "batch": 16},
    "evaluate": {"bootstrap": 100, "baseline": False},
    "gate": {"class_floor": 0.0, "scene_floor": 0.0},
}


def copy_tree(folder: Path, *only: str) -> None:
    """The tracked and new files of this checkout, or those of some of its top; what git ignores is left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *only],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def make_repository(folder: Path) -> None:
    """The same as a repository with one commit of a person's."""
    copy_tree(folder)
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["config", "user.name", "Ada"],
        ["config", "user.email", "ada@example.org"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "Begin"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)


def change_params(checkout: Path, **sections: dict[str, object]) -> None:
    """Alter values of the checkout's ``params.yaml``, and leave that uncommitted."""
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for name, values in sections.items():
        params[name] |= values
    path.write_text(yaml.safe_dump(params, sort_keys=False))
