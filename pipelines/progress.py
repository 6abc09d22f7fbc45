"""How far a stage has come, for whoever watches: one small file, named by the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.files import write_json

PROGRESS_FILE = "SWATH_PROGRESS"


def report(done: float, total: float, what: str) -> None:
    """Say that ``done`` of ``total`` is finished, ``what`` being a short phrase ("epoch 3 of 20")."""
    if target := os.environ.get(PROGRESS_FILE):
        write_json(Path(target), {"done": done, "total": total, "what": what})
