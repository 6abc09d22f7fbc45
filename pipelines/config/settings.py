"""Where things are on this machine: read from the environment, never from ``params.yaml``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData

VIEW = "SWATH_VIEW"  # environment variable: the folders of the store that this process works in
PAGE = "page"  # the view of whoever works in none
_GIGABYTE = 10**9


class Settings(BaseModel):
    """Places and addresses. Every field has an environment variable, named beside it."""

    model_config = ConfigDict(frozen=True)

    home: Path  # SWATH_HOME: all state of the embedded system; default: var/ beside pipelines/
    catalog: Path  # SWATH_CATALOG: one STAC catalog a project; default: HOME/catalog
    predictions: Path  # SWATH_PREDICTIONS: maps, one folder a project; default: HOME/predictions
    reports: Path  # SWATH_REPORTS: Data Docs and drift reports, one folder a project; default: HOME/reports
    notices: Path  # HOME/notices: what people are told on the page
    store: str | None  # SWATH_STORE: s3://BUCKET that holds these four, which are views of it then; default: none
    store_cache: int  # bytes; SWATH_STORE_CACHE: gigabytes of its objects that this machine keeps; default: 50
    git_remote: str  # SWATH_GIT_REMOTE: the repository that is watched; default: the checkout itself
    git_branch: str  # SWATH_GIT_BRANCH: the branch that is watched; default: main
    dvc_remote: str  # SWATH_DVC_REMOTE: where data versions are pushed; default: HOME/dvc/remote
    dvc_cache: Path  # SWATH_DVC_CACHE: shared by the workspaces of one machine; default: HOME/dvc/cache
    mlflow_uri: str  # MLFLOW_TRACKING_URI; default: an SQLite file below HOME
    mlflow_page: str | None  # SWATH_MLFLOW_PAGE: where people reach MLflow, if not by the same address; default: none
    links: tuple[str, ...]  # SWATH_LINKS: hosts on private networks and folders that links in catalogs may lead to too
    basemap: str | None  # SWATH_BASEMAP: tiles under the map, such as https://.../{z}/{x}/{y}.png; default: none


def settings() -> Settings:
    """The settings of this process, from its environment."""
    checkout = Path(__file__).resolve().parents[2]
    home = Path(os.environ.get("SWATH_HOME") or checkout / "var").resolve()
    store = os.environ.get("SWATH_STORE") or None
    view = home / "depot" / "views" / (os.environ.get(VIEW) or PAGE)

    def folder(variable: str, name: str) -> Path:
        return view / name if store else Path(_absolute(variable) or home / name)

    return Settings(
        home=home,
        catalog=folder("SWATH_CATALOG", "catalog"),
        predictions=folder("SWATH_PREDICTIONS", "predictions"),
        reports=folder("SWATH_REPORTS", "reports"),
        notices=view / "notices" if store else home / "notices",
        store=store,
        store_cache=_gigabytes("SWATH_STORE_CACHE", 50),
        git_remote=_absolute("SWATH_GIT_REMOTE") or str(checkout),
        git_branch=os.environ.get("SWATH_GIT_BRANCH") or "main",
        dvc_remote=_absolute("SWATH_DVC_REMOTE") or str(home / "dvc" / "remote"),
        dvc_cache=Path(_absolute("SWATH_DVC_CACHE") or home / "dvc" / "cache"),
        mlflow_uri=_tracking() or f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        mlflow_page=os.environ.get("SWATH_MLFLOW_PAGE") or None,
        links=tuple(one for one in re.split(r"[,\s]+", os.environ.get("SWATH_LINKS") or "") if one),
        basemap=os.environ.get("SWATH_BASEMAP") or None,
    )


def _absolute(variable: str) -> str | None:
    """A place as the environment names it; refused if that depends on the folder, for each run works in its own."""
    written = os.environ.get(variable)
    address = r"[^/]+:.*" if variable == "SWATH_GIT_REMOTE" else r"\w+://.*"  # git's host:path is one too
    if not written or re.fullmatch(address, written, re.DOTALL) or Path(written).is_absolute():
        return written or None
    raise BadData(
        f"{variable} is {written!r}, which each run would look for in a folder of its own; name it from / on."
    )


def _tracking() -> str | None:
    """MLflow's address; a database in a file is named from / on too, which in an address takes four strokes."""
    written = os.environ.get("MLFLOW_TRACKING_URI") or None
    if written and written.startswith("sqlite:///") and not Path(written.removeprefix("sqlite:///")).is_absolute():
        raise BadData(
            f"MLFLOW_TRACKING_URI is {written!r}, another file for each run; write sqlite:////the/whole/path."
        )
    return written


def _gigabytes(variable: str, default: float) -> int:
    written = os.environ.get(variable) or default
    try:
        return int(float(written) * _GIGABYTE)
    except (ValueError, OverflowError):
        raise BadData(f"{variable} is {written!r}; give a number of gigabytes, such as 50.") from None
