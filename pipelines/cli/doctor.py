"""Is this installation fit to run?"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.result import emit
from pipelines.config import load_params

app = typer.Typer()

_CHECKOUT = Path(__file__).resolve().parents[2]
_SIGNS = {
    "fine": "[green]fine[/]   ",
    "warning": "[yellow]warning[/]",
    "fault": "[red]fault[/]  ",
    "skipped": "[dim]skipped[/]",
}


@app.command("doctor")
def doctor_command(
    params: Annotated[Path | None, typer.Option(help="The params.yaml in use; default: that of this checkout.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One object, for machines.")] = False,
) -> None:
    """Look at everything a run depends on, say what is wrong and what to do; status 1 if something is."""
    from rich.console import Console

    from pipelines.doctor.examine import examine
    from pipelines.local.services import running

    logging.getLogger("pipelines").setLevel(logging.ERROR)  # the findings say it
    if "MLFLOW_TRACKING_URI" not in os.environ and (services := running()):
        os.environ["MLFLOW_TRACKING_URI"] = services.mlflow
    console, found = Console(soft_wrap=True, highlight=False), []
    for finding in examine(_CHECKOUT, load_params(params or _CHECKOUT / "params.yaml")):
        found.append(finding)
        if not json:
            console.print(f"{_SIGNS[finding.word]}  [bold]{finding.check}[/]  ", end="")
            console.print(finding.what, markup=False)
            if finding.do:
                console.print(f"         -> {finding.do}", markup=False)
    faults = sum(finding.word == "fault" for finding in found)
    if json:
        emit({"faults": faults, "findings": [finding.model_dump() for finding in found]})
    elif faults:
        console.print(f"{faults} faults.")
    if faults:
        raise typer.Exit(1)
