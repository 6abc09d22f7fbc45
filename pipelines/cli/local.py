"""The embedded system: one chain, or services that stay up."""

from __future__ import annotations

import logging
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import alone

if TYPE_CHECKING:
    from pipelines.local.services import Services

app = typer.Typer()

Overlay = Annotated[Path | None, typer.Option(help="Overlay of params.yaml, such as examples/amazon-forest.yaml.")]


@app.command("run")
def run_command(config: Overlay = None) -> None:
    """Start everything, run the whole chain through Airflow, say what it made, and stop everything."""
    from rich.console import Console

    from pipelines.local.airflow_api import Airflow
    from pipelines.local.chain import CHAIN, run_chain
    from pipelines.local.display import Display
    from pipelines.local.prepare import prepare
    from pipelines.local.services import recorded, start, stop
    from pipelines.local.summary import print_summary

    started = time.monotonic()
    console = Console() if sys.stdout.isatty() else Console(width=200)  # a log has no edge to wrap at
    logging.getLogger("pipelines").setLevel(logging.WARNING)  # the display says what is going on
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home = settings().home
    with alone(home / "run.lock", f"Another run is at work in {home}; wait for it, or set SWATH_HOME."):
        before, services, airflow = recorded(), None, None
        try:
            with Display(console) as display:
                commit = prepare(_checkout(), config and config.resolve(), display.say)
                services = start(_checkout(), display.say)
                airflow = Airflow(services)
                if _is_ours(services, before) and (left := airflow.end_open_runs(list(CHAIN))):
                    display.say(f"Runs that had been cut off and are ended now: {left}")
                done = run_chain(airflow, commit, display.watch)
            print_summary(console, done, services, time.monotonic() - started)
        except KeyboardInterrupt:
            console.print("Stopped by hand; services and tasks are being ended.")
            if airflow and _is_ours(services, before):  # or they would be taken up again at the next start
                with suppress(SwathError):
                    airflow.end_open_runs(list(CHAIN))
            sys.exit(130)
        finally:
            if _is_ours(services, before):
                stop()


def _is_ours(services: Services | None, before: Services | None) -> bool:
    """Whether this process started ``services`` and nobody has since asked that they stay."""
    from pipelines.local.services import recorded

    if services is None or (before is not None and before.instance == services.instance):
        return False
    now = recorded()
    return now is None or not now.stays


@app.command("up")
def up_command() -> None:
    """Start Airflow and MLflow on loopback and leave them running."""
    from rich.console import Console

    from pipelines.local.airflow_api import Airflow
    from pipelines.local.chain import CHAIN
    from pipelines.local.services import recorded, start, stop

    console = Console(soft_wrap=True)
    before = recorded()
    services = start(_checkout(), lambda text: console.print(text, style="dim"), stays=True)
    try:
        airflow = Airflow(services)
        airflow.wait_for_dags(list(CHAIN))
        for dag in CHAIN:
            airflow.unpause(dag)
    except BaseException:
        if before is None or before.instance != services.instance:
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
