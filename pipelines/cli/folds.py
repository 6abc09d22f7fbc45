"""Cross-validation of a configuration at a desk."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from pipelines.cli.result import emit
from pipelines.config import expanded, load_params, merged_params, settings
from pipelines.errors import SwathError
from pipelines.files import sha256, write_text

app = typer.Typer()
log = logging.getLogger(__name__)

_DONE = "evaluated.yaml"  # the manifest, the code and the parameters that a fold was finished with


@app.command()
def crossvalidate(
    out: Annotated[Path, typer.Option(help="Folder for a workspace a fold; finished folds in it are kept.")],
    folds: Annotated[int, typer.Option(min=2, help="Each tests another part of the ground.")] = 5,
    config: Annotated[Path | None, typer.Option(help="Overlay of params.yaml.")] = None,
) -> None:
    """Test every block of the catalog's labelled ground once, by models that never saw its place."""
    from pipelines.evaluation.folds import together
    from pipelines.labels.table import FOLDERS

    base = Path("params.yaml")
    load_params(base)  # says what is wrong
    values = yaml.safe_load(merged_params(base, config) if config else base.read_text(encoding="utf-8"))
    labels, model = values["labels"], values["train"]["model"]  # stages start in the fold's folder
    if labels["source"] != FOLDERS:  # it may be a pattern
        labels["source"] = str(Path(expanded(labels["source"], str(config or base))).absolute())
    if model.get("weights") and Path(model["weights"]).exists():
        model["weights"] = str(Path(model["weights"]).absolute())
    by = _code_and_weights(model.get("weights"))
    workspaces = [out.resolve() / f"fold-{fold}" for fold in range(folds)]
    for fold, workspace in enumerate(workspaces):
        values["split"] |= {"folds": folds, "fold": fold}
        text, done = yaml.safe_dump(values, sort_keys=False), workspace / _DONE
        write_text(workspace / "params.yaml", text)
        _swath("snapshot", workspace)
        made_of = f"# {sha256(workspace / 'data' / 'manifest.json')} {by}\n{text}"  # scenes, labels and code too
        if done.exists() and done.read_text(encoding="utf-8") == made_of:
            log.info("Fold %d of %d is there already.", fold + 1, folds)
            continue
        done.unlink(missing_ok=True)
        log.info("Fold %d of %d", fold + 1, folds)
        _swath("fold", workspace)
        write_text(done, made_of)
    if len({sha256(workspace / "data" / "manifest.json") for workspace in workspaces}) > 1:
        raise SwathError("Scenes or labels changed while the folds were made; run the same command again.")
    params = load_params(workspaces[0] / "params.yaml")
    emit(together(workspaces, [c.name for c in params.labels.classes], params.evaluate, params.task))


@app.command(hidden=True)
def fold() -> None:
    """Run the stages after the snapshot in this folder, in one process: a fold is killed and begun anew as a whole."""
    from pipelines.cli import dataset, monitoring, training

    stages = (dataset.split, dataset.chip, dataset.validate, dataset.statistics, monitoring.profile)
    for stage in (*stages, training.train, training.evaluate):
        log.info("%s", stage.__name__)
        stage()


def _code_and_weights(weights: str | None) -> str:
    """A digest of what else makes a fold: code of another day would be another model in one figure."""
    package = Path(__file__).parents[1]
    files = [*sorted(package.rglob("*.py")), *([Path(weights)] if weights and Path(weights).is_file() else [])]
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def _swath(stage: str, workspace: Path) -> None:
    environment = os.environ | {"SWATH_HOME": str(settings().home)}
    command = [sys.executable, "-m", "pipelines", stage]
    done = subprocess.run(command, cwd=workspace, env=environment, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(done.returncode)
