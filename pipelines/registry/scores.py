"""Scores of a model on a test: its bundle brings those on its own; others are kept with its run, computed once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines.bundle.contract import SCORES
from pipelines.bundle.store import Bundle
from pipelines.evaluation.score import read_blocks, write_blocks

_FOLDER = "scores"


def log_scores(client: MlflowClient, run_id: str, test: str, frame: pd.DataFrame) -> None:
    """Keep block scores under the digest ``test`` of the ground they were scored on."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{test}.parquet"
        write_blocks(path, frame)
        client.log_artifact(run_id, str(path), _FOLDER)


def own_scores(bundle: Bundle, test: str, model: str = "network") -> pd.DataFrame | None:
    """Block scores that a bundle brings, of its network or of the ``baseline``; ``None`` where its test was another."""
    if bundle.contract.metrics["test"]["digest"] != test:
        return None
    return read_blocks(bundle.folder / SCORES, model)


def known_scores(client: MlflowClient, run_id: str, bundle: Bundle, test: str) -> pd.DataFrame | None:
    """Block scores on the test ``test``, ``None`` where they are not known yet."""
    if (own := own_scores(bundle, test)) is not None:
        return own
    path = f"{_FOLDER}/{test}.parquet"
    if path not in [item.path for item in client.list_artifacts(run_id, _FOLDER)]:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return read_blocks(Path(client.download_artifacts(run_id, path, scratch)))
        except MlflowException:
            return None  # removed meanwhile; it can be computed again
