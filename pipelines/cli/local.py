"""The embedded system: one chain, or services that stay up."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import alone

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.local.airflow_api import Airflow
    from pipelines.local.display import Display
    from pipelines.local.services import Services

app = typer.Typer()

Overlay = Annotated[Path | None, typer.Option(help="Overlay of params.yaml, such as examples/amazon-forest.yaml.")]


@app.command("run")
def run_command(config: Overlay = None) -> None:
    """Start everything, run the whole chain through Airflow, say what it made, and stop everything."""
    from pipelines.local.chain import run_chain
    from pipelines.local.prepare import prepare
    from pipelines.local.summary import print_summary

    started, console = time.monotonic(), _console()
    with _alone(settings().home):
        with _system(console, lambda say: prepare(_checkout(), config and config.resolve(), say)) as system:
            done = run_chain(system.airflow, system.commit, system.display.watch)
        print_summary(console, done, system.services, time.monotonic() - started)


@app.command("drift-demo")
def drift_demo_command() -> None:
    """Show a model's life: changed scenes arrive, drift is flagged, labels are pushed, the next champion recovers."""
    from pipelines.local.chain import run_chain
    from pipelines.local.drift_demo import CHANGED, play, set_stage
    from pipelines.local.prepare import prepare
    from pipelines.local.recovery import print_recovery

    def prepared(say: Callable[[str], None]) -> str:
        set_stage(_checkout(), say)
        return prepare(_checkout(), None, say)

    started, console = time.monotonic(), _console()
    with _alone(settings().home):
        with _system(console, prepared) as system:
            see, say = system.display.watch, system.display.say
            done = {result.dag: result for result in run_chain(system.airflow, system.commit, see)}
            project = done["build_dataset"].results["resolve_revision"]["project"]
            chain = time.monotonic() - started
            told = play(system.airflow, project, CHANGED, say, see)
        print_recovery(console, told.model_copy(update={"seconds": {"usual chain": chain} | told.seconds}))


@dataclass(frozen=True)
class _System:
    """What is running, for one command."""

    services: Services
    airflow: Airflow
    display: Display
    commit: str


@contextmanager
def _system(console: Console, prepare: Callable[[Callable[[str], None]], str]) -> Iterator[_System]:
    """Airflow and MLflow at the commit that ``prepare`` returns, and a display; what this process starts it stops."""
    from pipelines.local.airflow_api import Airflow
    from pipelines.local.chain import CHAIN
    from pipelines.local.display import Display
    from pipelines.local.services import recorded, start, stop

    logging.getLogger("pipelines").setLevel(logging.WARNING)  # the display says what is going on
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # a terminal that goes away, unless nohup was asked for
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    before, services, airflow = None, None, None
    try:
        with Display(console) as display:
            commit = prepare(display.say)
            before = recorded()
            services = start(_checkout(), display.say)
            airflow = Airflow(services)
            if _is_ours(services, before) and (left := airflow.end_open_runs(list(CHAIN))):
                display.say(f"Runs that had been cut off and are ended now: {left}")
            yield _System(services, airflow, display, commit)
    except KeyboardInterrupt:
        console.print("Stopped by hand; services and tasks are being ended.")
        if airflow and _is_ours(services, before):  # or they would be taken up again at the next start
            with suppress(SwathError):
                airflow.end_open_runs(list(CHAIN))
        sys.exit(130)
    finally:
        if _is_ours(services, before):
            stop()


def _alone(home: Path) -> AbstractContextManager[None]:
    return alone(home / "run.lock", f"Another run is at work in {home}; wait for it, or set SWATH_HOME.")


def _console() -> Console:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=200)  # a log has no edge to wrap at


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
        wanted = [*CHAIN, "maintain"]
        airflow.wait_for_dags(wanted)
        for dag in wanted:
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
