"""Where things are on this machine: read from the environment, never from ``params.yaml``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Places and addresses. Every field has an environment variable, named beside it."""

    model_config = ConfigDict(frozen=True)

    home: Path  # SWATH_HOME: all state of the embedded system; default: var/ beside pipelines/
    catalog: Path  # SWATH_CATALOG: one STAC catalog a project; default: HOME/catalog
    predictions: Path  # SWATH_PREDICTIONS: maps, one folder a project; default: HOME/predictions
    reports: Path  # SWATH_REPORTS: Data Docs and drift reports, one folder a project; default: HOME/reports
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
    return Settings(
        home=home,
        catalog=Path(os.environ.get("SWATH_CATALOG") or home / "catalog"),
        predictions=Path(os.environ.get("SWATH_PREDICTIONS") or home / "predictions"),
        reports=Path(os.environ.get("SWATH_REPORTS") or home / "reports"),
        git_remote=os.environ.get("SWATH_GIT_REMOTE") or str(checkout),
        git_branch=os.environ.get("SWATH_GIT_BRANCH") or "main",
        dvc_remote=os.environ.get("SWATH_DVC_REMOTE") or str(home / "dvc" / "remote"),
        dvc_cache=Path(os.environ.get("SWATH_DVC_CACHE") or home / "dvc" / "cache"),
        mlflow_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        mlflow_page=os.environ.get("SWATH_MLFLOW_PAGE") or None,
        links=tuple(one for one in re.split(r"[,\s]+", os.environ.get("SWATH_LINKS") or "") if one),
        basemap=os.environ.get("SWATH_BASEMAP") or None,
    )
