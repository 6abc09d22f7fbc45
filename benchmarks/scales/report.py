"""Figures of growth as a table and as a picture."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

from benchmarks.scales.measure import LEAST, exponent

Figures = dict[str, dict[str, dict[str, list[float]]]]
"""By what grows, by step, by size: processor seconds and megabytes."""

UNITS = {
    "scenes": "scenes",
    "chips": "chips",
    "rasters": "rows of 4,096 pixels",
    "workers": "workers",
    "revisions": "revisions",
}
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")  # told apart by all (Tol)
_MARKS = ("o", "s", "^")


def table(figures: Figures) -> str:
    """Markdown: by step and size the processor seconds and peak memory, and by which power the former grow."""
    parts = []
    for family, steps in figures.items():
        sizes = sorted({int(size) for costs in steps.values() for size in costs})
        parts.append(f"| {UNITS[family]} | " + " | ".join(f"{size:,}" for size in sizes) + " | grows by |")
        parts.append("|---" * (len(sizes) + 2) + "|")
        for step, costs in steps.items():
            known = sorted(map(int, costs))
            cells = [_cell(costs.get(str(size))) for size in sizes]
            power = _power(exponent(known, [costs[str(size)][0] for size in known])) if len(known) > 2 else ""
            parts.append(f"| {step} | " + " | ".join(cells) + f" | {power} |")
        parts.append("")
    return "\n".join(parts)


def _cell(cost: list[float] | None) -> str:
    return "" if cost is None else f"{cost[0]:,.1f} s, {cost[1] / 1000:.2f} GB"


def _power(power: float | None) -> str:
    return f"less than {LEAST:g} s" if power is None else f"n^{power:.2f}"


def plot(figures: Figures, target: Path) -> None:
    """Write a PNG: seconds on the left, memory on the right, a row for each thing that grows in three sizes or more."""
    grown = {f: steps for f, steps in figures.items() if any(len(costs) > 2 for costs in steps.values())}
    if not grown:
        return
    figure = Figure(figsize=(13, 4.6 * len(grown)), layout="constrained")
    axes = figure.subplots(len(grown), 2, squeeze=False)
    for (family, steps), (seconds, memory) in zip(grown.items(), axes, strict=True):
        sizes = sorted({int(size) for costs in steps.values() for size in costs})
        marks = cycle((color, mark) for mark in _MARKS for color in _COLORS)
        for (step, costs), (color, mark) in zip(steps.items(), marks, strict=False):
            known = sorted(map(int, costs))
            style = {"color": color, "marker": mark, "markersize": 4, "linewidth": 1.2}
            seconds.plot(known, [costs[str(size)][0] for size in known], label=step, **style)
            memory.plot(known, [costs[str(size)][1] / 1000 for size in known], label=step, **style)
        top = max(costs[str(sizes[-1])][0] for costs in steps.values() if str(sizes[-1]) in costs)
        linear = [top * size / sizes[-1] for size in sizes]
        seconds.plot(sizes, linear, color="black", linewidth=0.8, linestyle=":", label="linear")
        seconds.set(xscale="log", yscale="log", xlabel=UNITS[family], ylabel="processor seconds")
        memory.set(xscale="log", ylim=(0, None), xlabel=UNITS[family], ylabel="peak memory, GB")
        for axis in (seconds, memory):
            axis.grid(alpha=0.25)
        memory.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(target, dpi=110, metadata={"Software": None})
