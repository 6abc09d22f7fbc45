"""What the state of the embedded system consists of: folders and databases, each under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.config import settings
from pipelines.files import alone

DATABASES = ("airflow/airflow.db", "mlflow/mlflow.db")
_SQLITE = "sqlite:///"


class Entry(BaseModel):
    """A file, a symbolic link or a folder of the state."""

    model_config = ConfigDict(frozen=True)

    path: str  # NAME/PATH, NAME being that of its tree
    mode: int
    mtime: int  # nanoseconds
    sha256: str | None = None  # of a file
    size: int = 0
    link: str | None = None  # of a symbolic link: what it leads to


class Manifest(BaseModel):
    """One copy of the state. Written last, so that where it lies the copy is whole."""

    model_config = ConfigDict(frozen=True)

    made: str  # ISO time, UTC
    version: str  # of Swath
    home: str  # SWATH_HOME of the system that was copied
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]  # sentences: state that lies elsewhere


def trees() -> dict[str, Path]:
    """Name and place of each folder and file that is copied; databases first, for they tell of what lies in folders.

    Left out is what can be had again: workspaces, caches, bundles, logs, and the environment.
    """
    here = settings()
    places = {name: here.home / name for name in DATABASES}
    if here.mlflow_uri.startswith(_SQLITE):
        places["mlflow/mlflow.db"] = Path(here.mlflow_uri.removeprefix(_SQLITE))
    places |= {name: here.home / name for name in ("airflow/secrets", "airflow/passwords.json", "mlflow/artifacts")}
    places |= {name: here.home / name for name in ("source.git", "decisions.git")}
    if here.store is None:
        places |= {"notices": here.notices, "catalog": here.catalog, "stages": here.home / "stages"}
        places |= {"predictions": here.predictions, "reports": here.reports}
    if "://" not in here.dvc_remote:
        places["dvc/remote"] = Path(here.dvc_remote)
    return places


def left_out() -> tuple[str, ...]:
    """What lies in a service of its own, and has to be copied by that service's means."""
    here = settings()
    found = []
    if here.store is not None:
        found.append(f"The store {here.store} with scenes, maps, reports and notices")
    if "://" in here.dvc_remote:
        found.append(f"The DVC remote {here.dvc_remote}")
    if not here.mlflow_uri.startswith("sqlite") and not (here.home / "mlflow" / "mlflow.db").exists():
        found.append(f"MLflow at {here.mlflow_uri}")
    return tuple(found)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Keep those out who write to the tree ``name`` while it is copied; in the others all appears whole, by renames."""
    here = settings()
    locks = {
        "source.git": [here.home / "source.lock"],
        "decisions.git": [here.home / "decisions.lock"],
        "catalog": sorted(here.catalog.glob("*/.lock")),
    }
    with ExitStack() as stack:
        for lock in locks.get(name, []):
            stack.enter_context(alone(lock))
        yield
