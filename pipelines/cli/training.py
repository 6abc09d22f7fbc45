"""Commands of training and evaluation."""

from __future__ import annotations

from pathlib import Path

import typer

from pipelines.cli.result import emit
from pipelines.config import load_params

app = typer.Typer()


@app.command()
def train() -> None:
    """Train a model on the certified chips of the current workspace, under MLflow."""
    from pipelines.training.train import train

    emit(train(Path(), load_params()))
