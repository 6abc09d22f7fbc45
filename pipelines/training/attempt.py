"""What a killed training leaves for the next attempt at the very same training."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config.settings import settings
from pipelines.files import alone, read_json, sha256, write_json


@dataclass(frozen=True)
class Attempt:
    """A folder of unfinished work."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Lightning's checkpoint of the last whole epoch; it may not exist yet."""
        return self.folder / "epoch.ckpt"

    @property
    def run(self) -> str | None:
        """Id of the MLflow run that the killed attempt logged to."""
        noted = self.folder / "run.json"
        return str(read_json(noted)["run_id"]) if noted.exists() else None

    def note_run(self, run: str) -> None:
        write_json(self.folder / "run.json", {"run_id": run})


def key(*parts: Any) -> str:
    """Hash of everything that decides the weights: JSON values, and files by their bytes."""
    said = [sha256(part) if isinstance(part, Path) else part for part in parts]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


@contextmanager
def attempt(name: str) -> Iterator[Attempt]:
    """The unfinished work called ``name``, new or left by a killed process; removed when the block succeeds.

    Raises ``SwathError`` when another process is at the same training now.
    """
    folder = settings().home / "training" / name
    with alone(folder / "lock", f"Another process trains this very model in {folder}; wait until it has finished."):
        yield Attempt(folder)
        shutil.rmtree(folder)
