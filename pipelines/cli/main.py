"""Entry point of ``swath`` and of ``python -m pipelines``."""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import os
import sys
import traceback
from pathlib import Path

import typer

from pipelines.cli.disk import full_disk
from pipelines.cli.lifeline import hold
from pipelines.depot import work
from pipelines.errors import FAILURE_EXIT, SwathError
from pipelines.secrets import Discreet, without_secrets
from pipelines.workspace.git import ELSEWHERE

_NOUNS = (
    "local",
    "configure",
    "sample",
    "ingest",
    "dataset",
    "training",
    "folds",
    "registry",
    "inference",
    "audit",
    "monitoring",
    "versions",
    "upkeep",
    "doctor",
)


def app() -> None:
    """Run the command line. A ``SwathError``, or a full disk, becomes its sentence and its exit status."""
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(Discreet("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[told])
    # they tell every request, profile and file
    for chatty in ("httpx", "whylogs", "pyogrio", "onnx_ir", "onnxscript", "botocore", "numexpr", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for name in ELSEWHERE:  # DVC and others ask git themselves
        os.environ.pop(name, None)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # logs are for people
    # torch's threads then sleep soon where another process wants the core that they would wait on
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    hold()
    _spare_collections()
    try:
        sys.exit(work(" ".join([*sys.argv[1:], str(Path.cwd())]), _command))
    except Exception as error:
        if sentence := full_disk(error):  # though it may have been taken for bad data
            print(f"swath: {sentence}", file=sys.stderr)
            sys.exit(FAILURE_EXIT)
        if not isinstance(error, SwathError):
            print(without_secrets(traceback.format_exc()), file=sys.stderr)
            sys.exit(FAILURE_EXIT)
        print(f"swath: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def _spare_collections() -> None:
    """Look for garbage less often among all that imports make, of which none is: half of a short command's time."""
    gc.set_threshold(700, 10, 100)  # what dies young is found as ever
    atexit.register(gc.freeze)  # Python would look through everything once more as it ends


def _command() -> str | int | None:
    """Run the command that ``sys.argv`` names; returns its exit status, as ``SystemExit`` has it."""
    try:
        commands()()
    except SystemExit as done:
        return done.code
    return None


def commands() -> typer.Typer:
    """All commands; each module of ``pipelines.cli`` brings those of its noun."""
    main = typer.Typer(name="swath", no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
    for noun in _NOUNS:
        main.add_typer(importlib.import_module(f"pipelines.cli.{noun}").app)
    return main
