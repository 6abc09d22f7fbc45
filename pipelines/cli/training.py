"""Commands of training and evaluation."""

from __future__ import annotations

from pathlib import Path

import typer

from pipelines.cli.result import emit
from pipelines.config import load_params, settings

app = typer.Typer()


@app.command()
def train() -> None:
    """Train a model on the certified chips of the current workspace, under MLflow."""
    from pipelines.training.train import train

    emit(train(Path(), load_params()))


@app.command()
def evaluate() -> None:
    """Score the trained model on stitched test ground, beside a per-pixel baseline."""
    from pipelines.evaluation.evaluate import evaluate

    params = load_params()
    metrics = evaluate(Path(), settings().catalog / params.project, params)
    emit({name: metrics[name] for name in ("miou", "accuracy", "f1", "test")})
