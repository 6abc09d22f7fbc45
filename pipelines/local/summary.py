"""What a chain made, as tables for a person."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.config import settings
from pipelines.local.chain import DagResult
from pipelines.local.services import Services


def print_summary(console: Console, done: list[DagResult], services: Services, seconds: float) -> None:
    """Print dataset, certificate, metrics, model, maps, drift verdict, times and addresses."""
    by = {result.dag: result.results for result in done}
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in _rows(by):
        table.add_row(f"[bold]{name}[/]", text)
    console.rule("What this run made", align="left")
    console.print(table, highlight=False)
    if metrics := by["train_model"].get("evaluate", {}).get("summary"):
        console.print(_metrics(metrics), highlight=False)
    console.print(_times(done, seconds), highlight=False)
    console.print(_places(by, services), highlight=False)


def _rows(by: dict[str, dict[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    ingest, build, train = by["ingest_scenes"], by["build_dataset"], by["train_model"]
    published, version, gate = ingest.get("publish", {}), build.get("version_and_push", {}), train.get("gate", {})
    mapped, drift = by["predict_scenes"].get("publish", {}), by["monitor_drift"].get("decide", {})
    snapshot = build.get("snapshot", {}).get("summary", {})
    certificate = build.get("split_and_certify", {}).get("summary", {})
    promoted = train.get("promote", {})
    return [
        (
            "scenes",
            f"{published.get('published', 0)} new, {published.get('scenes', 0)} in the catalog, "
            f"{published.get('quarantined', 0)} in quarantine"
            + (f", {missing} could not be reached" if (missing := published.get("missing")) else ""),
        ),
        ("dataset", _dataset(version)),
        *(("to look at", sentence) for found in (snapshot, certificate) for sentence in found.get("findings", [])),
        ("reused stages", ", ".join(_reused(build, train)) or "none"),
        ("leakage certificate", _certificate(certificate)),
        (
            "model",
            f"version {gate.get('challenger')}: {gate.get('verdict')}; "
            f"the champion is version {promoted.get('champion') or gate.get('champion')}",
        ),
        ("why", "; ".join(gate.get("reasons", []))),
        ("maps", f"{mapped.get('mapped', 0)} new, {mapped.get('total', 0)} in all, {mapped.get('failed', 0)} failed"),
        ("drift", f"{drift.get('verdict')}" + (" - retraining is asked for" if drift.get("retrain") else "")),
    ]


def _dataset(version: dict[str, Any]) -> str:
    where = f"{version.get('tag')} at {str(version.get('revision'))[:12]}, data {str(version.get('dataset'))[:12]}"
    return where if version.get("changed") else f"{where} (unchanged)"


def _reused(*dags: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{r['stage']} ({_short(r)})" for dag in dags for r in dag.values() if r.get("reused") and "stage" in r]


def _short(result: dict[str, Any]) -> str:
    return next((value[:8] for value in result["outputs"].values()), "no output")


def _certificate(found: dict[str, Any]) -> str:
    if not found:
        return "none"
    word = "clean" if found["clean"] else "NOT CLEAN"
    blocks = ", ".join(f"{split} {count}" for split, count in found["chips"].items())
    return (
        f"{word}: overlap {found['overlap_m2']:.0f} m2, smallest distance {found['smallest_distance_m']:.0f} m "
        f"(buffer {found['buffer_m']:.0f} m); chips: {blocks}"
    )


def _metrics(metrics: dict[str, Any]) -> Table:
    table = Table(title="Test blocks", title_justify="left", box=None, padding=(0, 2, 0, 0))
    finds = "map50" in metrics  # objects
    for column in ("", "IoU", "interval", "precision", "recall", "F1", *(("AP50", "AP") if finds else ())):
        table.add_column(column, justify="left" if not column else "right")
    for name, found in metrics["classes"].items():
        table.add_row(
            name, _number(found["iou"]), f"{_number(found['low'])} to {_number(found['high'])}",
            _number(found["precision"]), _number(found["recall"]), _number(found["f1"]),
            *((_number(found.get("ap50")), _number(found.get("ap"))) if finds else ()),
        )  # fmt: skip
    mean = metrics["miou"]
    interval = f"{_number(mean['low'])} to {_number(mean['high'])}"
    table.add_row("mean", _number(mean["value"]), interval, "", "", "", style="bold")
    if forest := (metrics.get("baseline") or {}).get("miou"):
        interval = f"{_number(forest.get('low'))} to {_number(forest.get('high'))}"
        table.add_row("random forest, mean", _number(forest.get("value")), interval, "", "", "")
    return table


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


def _times(done: list[DagResult], seconds: float) -> str:
    tasks, commands = sum(r.task_seconds for r in done), sum(r.command_seconds for r in done)
    each = ", ".join(f"{r.dag} {r.seconds:.0f} s" for r in done)
    share = 100 * (1 - commands / tasks) if tasks else 0
    return (
        f"\n{seconds:.0f} s in all: {each}. Of the unmapped tasks' time, {max(share, 0):.0f} % went to Airflow itself."
    )


def _places(by: dict[str, dict[str, dict[str, Any]]], services: Services) -> str:
    published, drift = by["ingest_scenes"].get("publish", {}), by["monitor_drift"].get("report", {})
    project = by["build_dataset"].get("resolve_revision", {}).get("project", "")
    return (
        f"\nmaps        {settings().predictions / project}"
        f"\nData Docs   {published.get('data_docs', '-')}"
        f"\ndrift       {drift.get('report', '-')}"
        f"\n\n`make up` serves them: Airflow {services.airflow} (user {services.user}), MLflow {services.mlflow}"
    )
