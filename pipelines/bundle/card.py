"""The model card: what the model is for, how well it does, where it fails, for people."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.bundle.contract import CARD, Contract
from pipelines.dataset.snapshot import Manifest
from pipelines.files import write_text

_RARE = 0.01  # share of the training pixels


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[list[str]]


def write_card(folder: Path, contract: Contract, certificate: dict[str, Any], manifest: Manifest, data: Path) -> None:
    """Write ``card.md`` and the plots that it shows into ``folder``; plots are those of ``data/evaluation``."""
    plots = sorted((data / "evaluation").rglob("*.png"))
    if (certified := data / "certificate.png").exists():
        plots.append(certified)
    if plots:
        (folder / "plots").mkdir()
    for plot in plots:
        shutil.copyfile(plot, folder / "plots" / plot.name)
    pixels = contract.statistics.class_pixels
    total = max(sum(pixels.values()), 1)
    times = [scene.datetime for scene in manifest.scenes]
    text = (
        _environment()
        .get_template("card.md.jinja")
        .render(
            contract=contract,
            certificate=certificate,
            manifest=manifest,
            first=min(times).date(),
            last=max(times).date(),
            rare=[name for name, count in pixels.items() if count / total < _RARE],
            tables=tables(contract.metrics),
            plots=[plot.name for plot in plots],
        )
    )
    write_text(folder / CARD, text)


def tables(metrics: dict[str, Any]) -> list[Table]:
    """Metrics as tables: single numbers and intervals together, and one table for each mapping of names to scores."""
    single: list[list[str]] = []
    nested: list[Table] = []

    def visit(path: str, value: dict[str, Any]) -> None:
        inner = {k: v for k, v in value.items() if isinstance(v, dict) and not _is_interval(v)}
        if inner and len(inner) == len(value) and all(_is_scores(v) for v in inner.values()):
            inner = {name: _joined(scores) for name, scores in inner.items()}
            columns = list(dict.fromkeys(key for scores in inner.values() for key in scores))
            rows = [[name, *(_shown(scores.get(c)) for c in columns)] for name, scores in inner.items()]
            nested.append(Table(_words(path), ["", *map(_words, columns)], rows))
            return
        for key, item in value.items():
            place = f"{path}.{key}" if path else key
            if key in inner:
                visit(place, item)
            elif not isinstance(item, list):
                single.append([_words(place), _shown(item)])

    visit("", metrics)
    return ([Table("Overall", ["score", "value"], single)] if single else []) + nested


def _joined(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores of a class with the ends of the interval of its ``iou`` put beside it."""
    if not {"iou", "low", "high"} <= scores.keys():
        return scores
    ends = {"value": scores["iou"], "low": scores["low"], "high": scores["high"]}
    return {"iou": ends} | {name: scores[name] for name in scores if name not in {"iou", "low", "high"}}


def _is_interval(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"value", "low", "high"}


def _is_scores(value: dict[str, Any]) -> bool:
    return bool(value) and all(_is_interval(v) or not isinstance(v, dict | list) for v in value.values())


def _shown(value: Any) -> str:
    if _is_interval(value):
        if value["value"] is None:
            return "none"
        ends = f" [{_number(value['low'])}, {_number(value['high'])}]" if value["low"] is not None else ""
        return _number(value["value"]) + ends
    return "none" if value is None else _number(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ", ")


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _shares(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _environment() -> Environment:
    environment = Environment(  # noqa: S701 - Markdown, not HTML; cells are escaped
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": _number, "cell": _cell, "shares": _shares}
    return environment
