"""The registry: ``model package``, ``register``, ``gate``, ``promote``, ``rollback``, ``records`` and ``list``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.result import emit
from pipelines.config import load_params, settings
from pipelines.errors import BadData

app = typer.Typer()
model = typer.Typer(no_args_is_help=True, help="Package, register, judge and promote models, and roll them back.")
app.add_typer(model, name="model")

_RUN = "Names who moves the alias; the same run doing it again tells of the change again."


@model.command()
def package() -> None:
    """Build the bundle of this workspace and log it to the MLflow run that trained the model."""
    from pipelines.registry.package import package

    emit(package(Path(), load_params()).model_dump())


@model.command()
def register(
    run: Annotated[str | None, typer.Option(help="MLflow run with a bundle; default: this workspace's own.")] = None,
) -> None:
    """Make a packaged run a version of the registered model, and the challenger."""
    from pipelines.registry.register import register

    params = load_params()
    done = register(Path(), params, run).model_dump()
    emit(done | {"project": params.project, "judges": done["version"]})  # that `gate` of this code takes --version


@model.command()
def gate(
    version: Annotated[str | None, typer.Option(help="To judge it alone; default: whatever is challenger.")] = None,
) -> None:
    """Compare the challenger with the champion on the same test ground, and write the verdict on its version."""
    from pipelines.registry.gate import gate
    from pipelines.registry.summary import summary

    params = load_params()
    decision = gate(Path(), settings().catalog / params.project, params, version)
    emit(
        {
            "project": params.project,
            "verdict": decision.verdict,
            "reasons": list(decision.reasons),
            "summary": summary(decision, params.project),
            "challenger": decision.challenger,
            "promotes": decision.challenger,  # that `promote` of this code takes --version is told by this key
            "champion": decision.champion,
            "approval": params.gate.approval,
            "approval_hours": params.gate.approval_hours,
        }
    )


@model.command()
def promote(
    approver: Annotated[str | None, typer.Option(help="Who approved; written on the version.")] = None,
    rejecter: Annotated[str | None, typer.Option(help="Who rejected it; written on the version.")] = None,
    override: Annotated[str | None, typer.Option(help="A person's reason to promote against the verdict.")] = None,
    version: Annotated[
        str | None, typer.Option(help="Of which that was said; default: whatever is challenger.")
    ] = None,
    run: Annotated[str | None, typer.Option(help=_RUN)] = None,
) -> None:
    """Make the challenger champion if the gate said so and nobody rejected it."""
    from pipelines.evaluation.tracking import store
    from pipelines.registry.promotion import promote, reject

    if rejecter and (approver or override):
        raise BadData("A challenger is either rejected or promoted; leave out --rejecter, or the other options.")
    name = load_params().project
    with store() as client:
        if rejecter:
            done = reject(client, name, rejecter, run, version)
        else:
            done = promote(client, name, approver, override, run, version)
    emit(done.model_dump() | {"project": name, "version": done.champion})


@model.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Kept on both versions.")],
    version: Annotated[str | None, typer.Option(help="A former champion; default: the latest.")] = None,
    run: Annotated[str | None, typer.Option(help=_RUN)] = None,
) -> None:
    """Put a former champion in charge again, after seeing that it loads and predicts."""
    from pipelines.registry.rollback import rollback

    name = load_params().project
    done = rollback(name, reason, version, run)
    emit(done.model_dump() | {"project": name, "version": done.champion})


@model.command()
def records() -> None:
    """Tell every decision on record, and hold MLflow's tags against them; status 1 where they disagree."""
    from pipelines.evaluation.tracking import store
    from pipelines.registry.record import check

    name = load_params().project
    with store() as client:
        found = check(client, name)
    emit(found.model_dump(mode="json") | {"project": name, "agrees": found.agrees})
    if not found.agrees:
        raise typer.Exit(1)


@model.command(name="list")
def list_versions() -> None:
    """Show the versions of the registered model with their aliases, scores and verdicts, newest first."""
    from pipelines.evaluation.tracking import store
    from pipelines.registry.aliases import CHALLENGER, CHAMPION, DECISION, PROMOTED, REASONS, holder, versions

    name = load_params().project
    with store() as client:
        holders = {alias: holder(client, name, alias) for alias in (CHAMPION, CHALLENGER)}
        rows = [
            {
                "version": str(version.version),
                "aliases": [alias for alias, held in holders.items() if held and held.version == version.version],
                "miou": version.tags.get("swath.miou.value"),
                "verdict": version.tags.get(DECISION),
                "reasons": version.tags.get(REASONS, "").splitlines(),
                "promoted_at": version.tags.get(PROMOTED),
                "run_id": version.run_id,
            }
            for version in versions(client, name)
        ]
    emit({"project": name, "versions": rows})
