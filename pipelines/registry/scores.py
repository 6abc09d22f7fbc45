"""Scores of a model on a frozen test, kept with its run so that nobody computes them twice."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines.evaluation.score import read_blocks, write_blocks

_FOLDER = "scores"


def log_scores(client: MlflowClient, run_id: str, test: str, blocks: Path) -> None:
    """Keep the block scores of the file ``blocks`` under the digest ``test`` of the ground they were scored on."""
    with tempfile.TemporaryDirectory() as scratch:
        named = Path(scratch) / f"{test}.parquet"
        shutil.copyfile(blocks, named)
        client.log_artifact(run_id, str(named), _FOLDER)


def log_frame(client: MlflowClient, run_id: str, test: str, frame: pd.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "blocks.parquet"
        write_blocks(path, frame)
        log_scores(client, run_id, test, path)


def known_scores(client: MlflowClient, run_id: str, test: str, model: str = "network") -> pd.DataFrame | None:
    """Block scores on the test ``test``, ``None`` where they are not known yet; ``model`` may be ``baseline``."""
    path = f"{_FOLDER}/{test}.parquet"
    if path not in [item.path for item in client.list_artifacts(run_id, _FOLDER)]:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return read_blocks(Path(client.download_artifacts(run_id, path, scratch)), model)
        except MlflowException:
            return None  # removed meanwhile; it can be computed again
