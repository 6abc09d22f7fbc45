"""SQLite databases of the embedded system: whole, and of the schema that the installed version expects."""

from __future__ import annotations

import re
import sqlite3
from importlib.util import find_spec
from pathlib import Path

from pipelines.doctor.finding import Finding, fault, fine, skipped

_REVISION = re.compile(r"^(revision|down_revision)\b[^=]*= *(.+)$", re.MULTILINE)
_HASH = re.compile(r"[\"']([0-9a-z_]+)[\"']")
MIGRATIONS = {"airflow": "migrations/versions", "mlflow": "store/db_migrations/versions"}


def database(path: Path, package: str, migrate: str) -> list[Finding]:
    """``package`` is ``airflow`` or ``mlflow``; ``migrate`` is what to do where the schema is an older one."""
    name = f"Database of {package}"
    if not path.is_file():
        return [skipped(name, f"There is no {path} yet; `make up` makes it")]
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            (word,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            found = {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")}
    except sqlite3.Error as error:
        return [fault(name, f"{path} cannot be read: {error}.", "Bring it back with `swath restore`.")]
    if word != "ok":
        return [fault(name, f"{path} is damaged: {word}.", "Bring it back with `swath restore`.")]
    heads, known = migrations(package)
    if found == heads:
        return [fine(name, f"{path} is whole and of the schema that {package} expects")]
    if not found <= known:
        do = f"Install the version of {package} that made it (docs/operations.md, Rolling back)."
        return [fault(name, f"{path} was made by a newer {package} than is installed.", do)]
    return [fault(name, f"{path} has the schema of an older {package}.", migrate)]


def migrations(package: str) -> tuple[set[str], set[str]]:
    """The newest schema revision that ``package`` knows, and all; from its files, for importing it takes seconds."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    revisions: set[str] = set()
    former: set[str] = set()
    for file in Path(spec.submodule_search_locations[0], MIGRATIONS[package]).glob("*.py"):
        for kind, value in _REVISION.findall(file.read_text(encoding="utf-8")):
            (revisions if kind == "revision" else former).update(_HASH.findall(value))
    return revisions - former, revisions
