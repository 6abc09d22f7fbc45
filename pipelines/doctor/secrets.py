"""Files that hold passwords and keys, and who may read them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from pipelines.doctor.finding import Finding, fault, fine


def secret_files(home: Path, checkout: Path, passwords: Path | None = None) -> list[Path]:
    """Those of the embedded system and of compose that are here; ``passwords`` is that of Airflow's login."""
    named = [home / "services.json", home / "airflow" / "passwords.json", checkout / ".env"]
    named += [checkout / ".dvc" / "config.local", *sorted((home / "airflow" / "secrets").glob("*"))]
    return [path for path in [*named, *([passwords] if passwords else [])] if path.is_file()]


def private(paths: Iterable[Path]) -> list[Finding]:
    """Each must be its owner's alone."""
    seen = list(paths)
    weak = [path for path in seen if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    findings = [
        fault("Secrets", f"{path} is open to others ({stat.filemode(path.stat().st_mode)}).", f"chmod 600 {path}")
        for path in weak
    ]
    return findings or [fine("Secrets", f"{len(seen)} files, their owner's alone")]
