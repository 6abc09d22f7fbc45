"""Chains and replays as tables for a person, on standard error beside the JSON."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.audit.compare import Comparison
from pipelines.audit.explain import Decided, Explanation, Image, Life
from pipelines.audit.replay import Replay
from pipelines.inference.provenance import Joining, Prediction, Provenance
from pipelines.registry.record import Kept
from pipelines.workspace.release import Version

_MOST = 12  # scenes of a training that are named; the JSON has all


def show_explanation(found: Explanation) -> None:
    """Print the chain, from the map back to its data."""
    rows = [("map", f"{found.title or found.id}, in {found.folder}")]
    rows += [("", f"{name}: {state}") for name, state in found.files.items()]
    rows += _made(found.made) if found.made else []
    for image in found.images:
        rows += _image(image, "image")
    for model in found.models:
        rows += _model(model)
    rows += _dataset(found.dataset)
    console = _console()
    console.rule("Where this map comes from", align="left")
    console.print(_table(rows), highlight=False)
    for gap in found.gaps:
        console.print(f"[yellow]![/] {escape(gap)}", highlight=False)


def show_replay(made: Replay) -> None:
    """Print each file's verdict, and what may explain a difference."""
    console = _console()
    console.rule(f"{made.id}, made again", align="left")
    console.print(_table([(one.file, _compared(one)) for one in made.files]), highlight=False)
    for change in made.changes:
        console.print(f"[yellow]![/] {escape(change)}", highlight=False)
    console.print(f"[{'green' if made.agrees else 'red'}]{escape(made.verdict)}[/]", highlight=False)


def _console() -> Console:
    return Console(stderr=True) if sys.stderr.isatty() else Console(stderr=True, width=200)


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in rows:
        table.add_row(f"[bold]{escape(name)}[/]", escape(text))
    return table


def _made(made: Provenance) -> list[tuple[str, str]]:
    code = f"swath {made.code.version} at {_short(made.code.commit)}" + (" with edits" if made.code.edited else "")
    rows = [("made by", made.run or "hand, outside Airflow"), ("code", code)]
    if isinstance(made, Prediction):
        rows.append(("how", f"windows of {made.window} sharing {made.overlap}, {made.batch} at once, {made.engine}"))
    if isinstance(made, Joining):
        rows.append(("how", f"joined in {made.crs or 'the CRS of most maps'}"))
    software = ", ".join(f"{name} {version}" for name, version in sorted(made.software.items()) if name != "swath")
    return [*rows, ("on", f"{made.processor}; {software}")]


def _image(image: Image, name: str) -> list[tuple[str, str]]:
    rows = [(name, f"{image.kind} {image.id}, sha256 {_short(image.sha256)}, mask {_short(image.mask_sha256)}")]
    told = [image.found or "its bytes are not to be found", image.when and f"taken {image.when:%Y-%m-%d %H:%M}"]
    told += [image.source and f"from {image.source}", image.run and f"ingested by {image.run}", image.radiometry]
    rows.append(("", "; ".join(str(one) for one in told if one)))
    for one in image.images:
        rows += _image(one, "  of")
    return rows


def _model(model: Life) -> list[tuple[str, str]]:
    rows = [("model", f"{model.uri}, bundle {_short(model.sha256)}: {model.bundle or 'not to be found'}")]
    rows.append(("trained on", f"commit {_short(model.commit)}, data {model.dataset or 'unknown to DVC'}"))
    if model.scenes:
        rows.append(("", f"{len(model.scenes)} scenes and {len(model.labels)} files of labels"))
        rows += [("", f"  {one['id']}  {_short(one['image_sha256'])}") for one in model.scenes[:_MOST]]
        rows += [("", f"  and {len(model.scenes) - _MOST} more")] if len(model.scenes) > _MOST else []
    if model.registered:
        held = model.registered
        runs = [f"MLflow run {held.mlflow_run}", held.trained_by and f"trained by {held.trained_by}"]
        runs += [held.registered_by and f"registered by {held.registered_by}"]
        names = f" ({', '.join(held.aliases)})" if held.aliases else ""
        rows.append(("version", f"{held.version}{names}; " + "; ".join(one for one in runs if one)))
        rows += _decision(held.decision)
        rows += [_record(kept) for kept in held.records]
    return rows


def _decision(decided: Decided) -> list[tuple[str, str]]:
    rows = [("decision", decided.verdict or "the gate has not judged it")]
    rows += [("", reason) for reason in decided.reasons]
    facts = {
        "decided": decided.at,
        "by": decided.run,
        "against version": decided.against,
        "approved by": decided.approver,
        "rejected by": decided.rejecter,
        "champion since": decided.promoted_at,
        "put there by": decided.promoted_by,
        "in place of version": decided.former_champion,
        "restored": decided.restored_at,
        "because": decided.restored_because,
        "taken out of charge because": decided.withdrawn_because,
    }
    rows.append(("", ", ".join(f"{name} {value}" for name, value in facts.items() if value)))
    return rows


def _record(kept: Kept) -> tuple[str, str]:
    one = kept.record
    moved = f", champion {one.before or 'none'} to {one.after}" if one.after != one.before else ""
    return (
        f"record {kept.number}",
        f"{one.kind} by {one.by} at {one.when:%Y-%m-%d %H:%M}{moved}; {_short(kept.commit)}",
    )


def _dataset(version: Version | None) -> list[tuple[str, str]]:
    if version is None:
        return []
    told = f"{version.tag} at {_short(version.revision)}"
    return [("dataset", f"{told}, of commit {_short(version.source)}, built by {version.run or 'an unknown run'}")]


def _compared(one: Comparison) -> str:
    parts: list[str] = [one.verdict]
    if one.share is not None:
        parts.append(f"{one.share:.4%} of the pixels")
    if one.largest is not None:
        parts.append(f"by {one.largest:g} at most")
    if one.where:
        rows, columns = one.where.rows, one.where.columns
        parts.append(f"rows {rows[0]} to {rows[1] - 1}, columns {columns[0]} to {columns[1] - 1}")
    return ", ".join(parts)


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "unknown"
