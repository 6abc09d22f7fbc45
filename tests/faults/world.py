"""An installation of its own for faults to strike: a checkout, a home, and the sample region in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.checkout import ROOT, SMALL, change_params, make_repository
from tests.faults.source import Source

# Smaller still than for the tests of the chain: a network of 0.5 M parameters, and several shards.
_TINY: dict[str, dict[str, object]] = {
    "scenes": {"shard": 3},
    "train": {"model": {"library": "smp", "name": "Unet", "encoder": "tu-test_resnet", "weights": None, "detail": 4}},
    "predict": {"window": 64, "overlap": 32, "shard": 3},
}
_DISK = "3g"
_WHEN = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class World:
    """``home`` is the state that faults strike; all that a run leaves is below it, or in ``scratch``."""

    folder: Path

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def scratch(self) -> Path:
        """For what commands keep for themselves, on the disk of the home, where the operators put it too."""
        return self.home / "scratch"

    @property
    def region(self) -> Path:
        """The sample region, which no fault strikes."""
        return self.folder / "region"

    def enter(self) -> None:
        """Make this process, and all that it starts, work in this installation and no other."""
        for name in [name for name in os.environ if name.startswith(("SWATH_", "MLFLOW_", "AIRFLOW"))]:
            del os.environ[name]
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        os.environ |= {
            "SWATH_HOME": str(self.home),
            "SWATH_GIT_REMOTE": str(self.checkout),
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "DVC_SITE_CACHE_DIR": str(self.folder / "dvc-site"),
            "PYTHONPATH": str(self.checkout),
            "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX") or str(self.folder / "pycache"),
            "PYTHONDONTWRITEBYTECODE": "",
            "TMPDIR": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "WHYLOGS_NO_ANALYTICS": "True",
            # so that commits are equal where what they hold is
            "GIT_AUTHOR_DATE": _WHEN,
            "GIT_COMMITTER_DATE": _WHEN,
        }

    def make(self, size: int = 256, scenes: int = 4) -> Source:
        """Make it anew, whatever was there, on a disk of its own where that may be mounted; serve its region."""
        self.unmake()
        self.home.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "swath-faults", str(self.home)], check=False)
        self.enter()
        region = ["sample", "--out", str(self.region), "--size", str(size), "--scenes", str(scenes)]
        subprocess.run([sys.executable, "-m", "pipelines", *region], cwd=ROOT, check=True, capture_output=True)
        source = Source(self.region)
        make_repository(self.checkout)
        change_params(self.checkout, **SMALL)
        change_params(self.checkout, **_TINY)
        files = {"source": f"{source.address}/catalog.json"}, {"source": str(self.region / "labels.gpkg")}
        change_params(self.checkout, scenes=files[0], labels=files[1])
        subprocess.run(
            ["git", "commit", "--quiet", "--all", "--message", "Keep it tiny"], cwd=self.checkout, check=True
        )
        self.keep("begin")
        return source

    def unmake(self) -> None:
        if self.home.is_mount():
            subprocess.run(["umount", "--lazy", str(self.home)], check=True)  # what has just been killed may hold it
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, name: str) -> None:
        """Put a copy of the state aside."""
        target = self.folder / "kept" / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for part in ("home", "checkout"):
            subprocess.run(["cp", "--archive", str(self.folder / part), str(target / part)], check=True)

    def restore(self, name: str) -> None:
        """Make the state what it was when it was kept under ``name``."""
        self.room(None)
        for part in ("home", "checkout"):
            for left in (self.folder / part).iterdir():
                remove(left)
            kept = self.folder / "kept" / name / part
            subprocess.run(["cp", "--archive", f"{kept}/.", str(self.folder / part)], check=True)
        self.clear_scratch()

    def clear_scratch(self) -> None:
        """As the operators do after each command."""
        remove(self.scratch)
        self.scratch.mkdir()

    def used(self) -> int:
        """Bytes on the disk of the home."""
        return shutil.disk_usage(self.home).used

    def room(self, free: int | None) -> bool:
        """Leave so many bytes on the disk of the home, or all of it again; False where that is beyond our rights."""
        size = _DISK if free is None else str(self.used() + free)
        return (
            subprocess.run(["mount", "-o", f"remount,size={size}", str(self.home)], capture_output=True).returncode == 0
        )


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
