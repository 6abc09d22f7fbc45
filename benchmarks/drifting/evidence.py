"""What the trials show: a table, a figure, and whether the goal is met."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy import stats

from benchmarks.drifting.changes import KINDS
from benchmarks.drifting.network import mean_iou
from benchmarks.drifting.trials import ELSEWHERE, USUAL, Tried, declared

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

COSTLY = 5.0  # points of mIoU that a change must cost to count in the goal


def joined(tried: Iterable[Tried]) -> list[Tried]:
    """One entry a world, kind and strength, of all seeds."""
    found: dict[tuple[str, str, float], Tried] = {}
    for one in tried:
        whole = found.setdefault((one.world, one.kind, one.strength), Tried(one.world, one.kind, one.strength))
        whole.odd += one.odd
        whole.verdicts += one.verdicts
        whole.features += one.features
        whole.see(one.before, one.counts)
    return list(found.values())


def cost(one: Tried) -> float | None:
    """Points of mIoU that the change takes from the network; ``None`` where there are no labels."""
    if one.before is None or one.counts is None:
        return None
    return 100 * (mean_iou(one.before) - mean_iou(one.counts))


def share(hits: Sequence[bool]) -> str:
    """Percent with its exact 95 % interval (Clopper and Pearson 1934)."""
    if not hits:
        return "-"
    found = stats.binomtest(sum(hits), len(hits)).proportion_ci()
    return f"{100 * np.mean(hits):.0f} ({100 * found.low:.0f} to {100 * found.high:.0f}) of {len(hits)}"


def table(tried: Iterable[Tried]) -> str:
    """Markdown: by world, kind and strength, what it costs, and how often a scene is odd and a drift declared."""
    rows = ["| world | change | strength | mIoU lost, points | scenes odd, % | drift declared, % | foremost feature |"]
    rows.append("|---|---|---|---|---|---|---|")
    means = {kind.name: kind.means for kind in KINDS}
    for one in joined(tried):
        lost = cost(one)
        first = Counter(one.features).most_common(1)
        strength = f"{one.strength:g} {means.get(one.kind, '')}".strip() if one.kind in means else ""
        rows.append(
            f"| {one.world} | {one.kind} | {strength} | {'' if lost is None else f'{lost:.1f}'} | {share(one.odd)} "
            f"| {share(declared(one))} | {first[0][0] if first else ''} |"
        )
    return "\n".join(rows) + "\n"


def summary(tried: Iterable[Tried]) -> dict[str, Any]:
    """By world: false alarms, and how often changes that cost at least ``COSTLY`` points were declared."""
    worlds: dict[str, Any] = {}
    rows = joined(tried)
    for world in dict.fromkeys(one.world for one in rows):
        own = [one for one in rows if one.world == world]
        usual = next(one for one in own if one.kind == USUAL)
        elsewhere = next((one for one in own if one.kind == ELSEWHERE), None)
        costly = [one for one in own if (cost(one) or 0) >= COSTLY]
        worlds[world] = {
            "scenes_odd": share(usual.odd),
            "drift_declared": share(declared(usual)),
            "elsewhere_declared": share(declared(elsewhere)) if elsewhere else None,
            "costly": len(costly),
            "costly_declared": share([hit for one in costly for hit in declared(one)]),
            "missed": [f"{one.kind} {one.strength:g}" for one in costly if np.mean(declared(one)) < 0.95],
        }
    parts = [
        {"world": one.world, "kind": one.kind, "strength": one.strength, "cost": cost(one)}
        | {"odd": one.odd, "verdicts": one.verdicts, "features": dict(Counter(one.features).most_common(5))}
        for one in rows
    ]
    return {"worlds": worlds, "trials": parts}


def plot(trials: Sequence[dict[str, Any]], path: Path) -> None:
    """By kind, detection against strength, with the points that cost the network ``COSTLY`` filled.

    ``trials`` are those of ``summary``, of one run or more.
    """
    by: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in trials:
        by[one["kind"]].append(one | {"hits": [verdict == "drift" for verdict in one["verdicts"]]})
    worlds = list(dict.fromkeys(one["world"] for one in trials))
    colours = dict(zip(worlds, ("#2f6fb0", "#c8443c", "#e3a02c", "#5a8f3c"), strict=False))
    figure, axes = plt.subplots(3, 4, figsize=(11, 7), sharey=True)
    for axis, kind in zip(axes.flat, KINDS, strict=False):
        for world in worlds:
            points = sorted((o for o in by[kind.name] if o["world"] == world), key=lambda o: float(o["strength"]))
            if not points:
                continue
            x = [kind.strengths.index(o["strength"]) for o in points]
            y = [100 * np.mean(o["hits"]) for o in points]
            axis.plot(x, y, color=colours[world], linewidth=1.2)
            for at, height, one in zip(x, y, points, strict=True):
                costly = (one["cost"] or 0) >= COSTLY
                axis.plot(at, height, "o", color=colours[world], mfc=colours[world] if costly else "white", ms=6)
        axis.set_title(kind.name, fontsize=10)
        axis.set_xticks(range(len(kind.strengths)), [f"{s:g}" for s in kind.strengths], fontsize=8)
        axis.set_xlabel(kind.means, fontsize=7)
        axis.axhline(95, color="#999999", linewidth=0.7, linestyle=":")
        axis.set_ylim(-5, 105)
    last = axes.flat[len(KINDS)]
    last.set_title("nothing: false alarms", fontsize=10)
    for i, world in enumerate(worlds):
        hits = next(o for o in by[USUAL] if o["world"] == world)["hits"]
        found = stats.binomtest(sum(hits), len(hits)).proportion_ci()
        rate = 100 * float(np.mean(hits))
        last.plot([i, i], [100 * found.low, 100 * found.high], color=colours[world], linewidth=3, alpha=0.4)
        last.plot(i, rate, "o", color=colours[world], ms=6)
    last.set_xticks(range(len(worlds)), worlds, fontsize=8)
    last.axhline(5, color="#999999", linewidth=0.7, linestyle=":")
    for axis in axes[:, 0]:
        axis.set_ylabel("drift declared, %", fontsize=8)
    handles = [Line2D([], [], color=colours[w], marker="o", label=w) for w in worlds]
    handles.append(Line2D([], [], color="#444444", marker="o", linestyle="", label=f"costs {COSTLY:g} points of mIoU"))
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(path, dpi=100)
    plt.close(figure)
