"""Pictures of the scores, for DVC, MLflow and the model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.evaluation.metrics import Counts, Curves, class_scores
from pipelines.files import replacing


def draw_confusion(path: Path, counts: Counts, names: list[str]) -> None:
    """Shares of each true class (row) that were given each class (column)."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.55 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else "black"
        if share >= 0.005:
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="Predicted", ylabel="True", title="Test ground, share of each true class")
    _save(figure, path)


def draw_curves(path: Path, curves: Curves, names: list[str], colours: list[str]) -> None:
    """Precision against recall and the ROC of each class against the rest."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, (name, colour) in enumerate(zip(names, colours, strict=True)):
        if np.isnan(curves.precision[index]).all():
            continue
        left.plot(curves.recall[index], curves.precision[index], color=colour, label=name)
        right.plot(np.r_[0, curves.false_positives[index]], np.r_[0, curves.recall[index]], color=colour, label=name)
    left.set(xlabel="Recall", ylabel="Precision", title="Precision and recall", xlim=(0, 1), ylim=(0, 1.02))
    right.set(xlabel="False positive rate", ylabel="True positive rate", title="ROC", xlim=(0, 1), ylim=(0, 1.02))
    right.legend(loc="lower right", fontsize=8)
    _save(figure, path)


def draw_reliability(path: Path, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    """Share of right answers against confidence, from counts of ``calibration.reliability``."""
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    for (pixels, confidence, right), label in ((before, "as trained"), (after, "after temperature scaling")):
        used = pixels > 0
        axes.plot(confidence[used] / pixels[used], right[used] / pixels[used], marker="o", label=label)
    axes.set(xlabel="Confidence", ylabel="Share right", title="Calibration on test chips", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left", fontsize=8)
    _save(figure, path)


def draw_classes(
    path: Path, network: Counts, baseline: Counts | None, names: list[str], void: int | None = None
) -> None:
    """IoU of each class but ``void``, of the network and of the per-pixel baseline."""
    figure = Figure(figsize=(2 + 0.9 * len(names), 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))
    axes.bar(places - 0.2, np.nan_to_num(class_scores(network, void).iou), 0.4, label="network", color="#2f6fb0")
    if baseline is not None:
        axes.bar(places + 0.2, np.nan_to_num(class_scores(baseline, void).iou), 0.4, label="per pixel", color="#b8b8b8")
    axes.set_xticks(places, names, rotation=30, ha="right")
    axes.set(ylabel="IoU", title="Test ground", ylim=(0, 1))
    axes.legend(fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as draft:
        figure.savefig(draft, dpi=110)
