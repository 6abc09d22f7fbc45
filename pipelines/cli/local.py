"""The embedded system: one chain, or services that stay up."""

from __future__ import annotations

import fcntl
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from pipelines.config import settings
from pipelines.errors import SwathError

app = typer.Typer()

Overlay = Annotated[Path | None, typer.Option(help="Overlay of params.yaml, such as examples/amazon-forest.yaml.")]


@app.command("run")
def run_command(config: Overlay = None) -> None:
    """Start everything, run the whole chain through Airflow, say what it made, and stop everything."""
    from rich.console import Console

    from pipelines.local.airflow_api import Airflow
    from pipelines.local.chain import run_chain
    from pipelines.local.display import Display
    from pipelines.local.prepare import prepare
    from pipelines.local.services import running, start, stop
    from pipelines.local.summary import print_summary

    started = time.monotonic()
    console = Console() if sys.stdout.isatty() else Console(width=200)  # a log has no edge to wrap at
    logging.getLogger("pipelines").setLevel(logging.WARNING)  # the display says what is going on
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings().home.mkdir(parents=True, exist_ok=True)
    alone = (settings().home / "run.lock").open("w")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by the system, however this process ends
    except BlockingIOError:
        raise SwathError(f"Another run is at work in {settings().home}; wait for it, or set SWATH_HOME.") from None
    keep = running() is not None
    try:
        with Display(console) as display:
            commit = prepare(_checkout(), config and config.resolve(), display.say)
            services = start(_checkout(), display.say)
            done = run_chain(Airflow(services), commit, display.watch)
        print_summary(console, done, services, time.monotonic() - started)
    except KeyboardInterrupt:
        console.print("Stopped by hand; services and tasks are being ended.")
        sys.exit(130)
    finally:
        if not keep:
            stop()


@app.command("up")
def up_command() -> None:
    """Start Airflow and MLflow on loopback and leave them running."""
    from rich.console import Console

    from pipelines.local.airflow_api import Airflow
    from pipelines.local.chain import CHAIN
    from pipelines.local.services import start, stop

    console = Console(soft_wrap=True)
    services = start(_checkout(), lambda text: console.print(text, style="dim"))
    try:
        airflow = Airflow(services)
        airflow.wait_for_dags(list(CHAIN))
        for dag in CHAIN:
            airflow.unpause(dag)
    except BaseException:
        stop()
        raise
    console.print(
        f"Airflow  {services.airflow}   user {services.user}, password {services.password}\n"
        f"MLflow   {services.mlflow}\n`make down` stops both.",
        highlight=False,
    )


@app.command("down")
def down_command() -> None:
    """Stop what `swath up` started."""
    from pipelines.local.services import stop

    print(f"{stop()} processes stopped.")


def _checkout() -> Path:
    return Path(__file__).resolve().parents[2]
