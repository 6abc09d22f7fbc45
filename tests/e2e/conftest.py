from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.local.airflow_api import Airflow
from pipelines.local.chain import CHAIN
from pipelines.local.services import Services, start, stop

ROOT = Path(__file__).parents[2]

# The smallest region on which every stage still has something to do. A model of two epochs beats no baseline, so there
# is none, and no floor: the first model becomes champion and its maps are made.
SMALL = {
    "chips": {"size": 32, "stride": 32},
    "split": {"block": 1280},
    "train": {"epochs": 2, "batch": 16},
    "evaluate": {"bootstrap": 100, "baseline": False},
    "gate": {"class_floor": 0.0, "scene_floor": 0.0},
}


class System:
    """A checkout of its own, its own SWATH_HOME, and Airflow and MLflow running on both."""

    def __init__(self, checkout: Path, home: Path, services: Services) -> None:
        self.checkout = checkout
        self.home = home
        self.services = services
        self.airflow = Airflow(services)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.checkout, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def change(self, **sections: dict[str, object]) -> None:
        path = self.checkout / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for name, values in sections.items():
            params[name] |= values
        path.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The embedded system on a clone of this checkout and a small sample region, for this folder's tests alone."""
    folder = tmp_path_factory.mktemp("e2e")
    checkout, home = folder / "checkout", folder / "home"
    _copy(checkout)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SWATH_", "MLFLOW_", "AIRFLOW"))]:
            if name != "SWATH_DATA":
                patch.delenv(name)
        patch.setenv("SWATH_HOME", str(home))
        patch.setenv("SWATH_GIT_REMOTE", str(checkout))
        patch.setenv("SWATH_GIT_INTERVAL", "1")
        patch.setenv("SWATH_LATE_HOURS", "0.005")  # so that the longer runs of a chain are late
        sample = [sys.executable, "-m", "pipelines", "sample", "--out", str(home / "sample")]
        subprocess.run([*sample, "--size", "512", "--scenes", "4"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        try:
            made = System(checkout, home, start(checkout, print))
            made.change(**SMALL)  # and leave it uncommitted, as a person at a desk does
            made.airflow.wait_for_dags(list(CHAIN))
            for dag in CHAIN:
                made.airflow.unpause(dag)
            yield made
        finally:
            stop()


def _copy(checkout: Path) -> None:
    """The tracked and new files of this checkout as a repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["config", "user.name", "Ada"],
        ["config", "user.email", "ada@example.org"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "Begin"],
    ):
        subprocess.run(["git", *command], cwd=checkout, check=True)
