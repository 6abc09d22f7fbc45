"""Pictures of a trained model on val chips: confusion, precision and recall, samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassPrecisionRecallCurve

from pipelines.config.params import LabelClass
from pipelines.dataset.statistics import Statistics
from pipelines.training.batches import Batch
from pipelines.training.losses import IGNORE

_THRESHOLDS = 50
_SAMPLES = 4
_APART = 4  # pixels along either side between those that the curves are drawn from: neighbours tell the same
_RED_GREEN_BLUE = (("B04", "B03", "B02"), ("red", "green", "blue"))


@dataclass(frozen=True)
class Review:
    """What a model does on labelled chips."""

    confusion: NDArray[np.int64]  # (classes, classes), truth in rows
    precision: NDArray[np.float32]  # (classes, thresholds + 1)
    recall: NDArray[np.float32]  # (classes, thresholds + 1)
    images: NDArray[np.float32]  # (samples, bands, h, w), physical units
    labels: NDArray[np.int64]  # (samples, h, w), 255 ignored
    predicted: NDArray[np.int64]  # (samples, h, w)


@torch.inference_mode()
def review(trained: nn.Module, batches: Iterable[Batch], classes: int, device: torch.device) -> Review:
    """Run ``trained`` over ``batches`` once, and keep the first few chips as samples."""
    trained = trained.to(device).eval()
    confusion = MulticlassConfusionMatrix(classes, ignore_index=IGNORE).to(device)
    curve = MulticlassPrecisionRecallCurve(classes, thresholds=_THRESHOLDS, ignore_index=IGNORE).to(device)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for images, labels, _ in batches:
        probabilities = trained(images.to(device)).float().softmax(1)
        predicted, truth = probabilities.argmax(1), labels.to(device)
        confusion.update(predicted, truth)
        curve.update(probabilities[..., ::_APART, ::_APART], truth[..., ::_APART, ::_APART])
        if sum(len(k[0]) for k in kept) < _SAMPLES:
            kept.append((images, labels, predicted.cpu()))
    precision, recall, _ = curve.compute()
    samples = [torch.cat(part)[:_SAMPLES].numpy() for part in zip(*kept, strict=True)]
    return Review(confusion.compute().cpu().numpy(), precision.cpu().numpy(), recall.cpu().numpy(), *samples)


def confusion_figure(matrix: NDArray[np.int64], classes: Sequence[LabelClass]) -> Figure:
    """Shares of each true class, in per cent."""
    names = [c.name for c in classes]
    shares = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(1.5 + 0.9 * len(names), 1.2 + 0.8 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", color="white" if share > 60 else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title="Val pixels, % of the true class")
    return figure


def curves_figure(seen: Review, classes: Sequence[LabelClass]) -> Figure:
    """Precision against recall, one line for each class that the chips show."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for i, label in enumerate(classes):
        if seen.confusion[i].sum():
            axes.plot(seen.recall[i], seen.precision[i], color=label.color, label=label.name)
    axes.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall on val chips"
    )
    axes.legend(loc="lower left")
    return figure


def samples_figure(seen: Review, statistics: Statistics, classes: Sequence[LabelClass]) -> Figure:
    """Image, label and prediction of a few chips side by side; ignored pixels are white."""
    colors = ListedColormap([to_rgb(c.color) for c in classes])
    show = {"cmap": colors, "vmin": -0.5, "vmax": len(classes) - 0.5, "interpolation": "nearest"}
    count = len(seen.images)
    figure = Figure(figsize=(7.5, 2.5 * count), layout="constrained")
    for row, panes in enumerate(figure.subplots(count, 3, squeeze=False)):
        panes[0].imshow(picture(seen.images[row], statistics))
        panes[1].imshow(np.ma.masked_equal(seen.labels[row], IGNORE), **show)
        panes[2].imshow(seen.predicted[row], **show)
        for pane, title in zip(panes, ("image", "label", "prediction"), strict=True):
            pane.set_axis_off()
            pane.set_title(title if row == 0 else "")
    return figure


def picture(image: NDArray[np.float32], statistics: Statistics) -> NDArray[np.float32]:
    """``(h, w, 3)``, 0 to 1: red, green and blue where the bands are named so, else the first three or the first."""
    names = [band.name for band in statistics.bands]
    known = next((trio for trio in _RED_GREEN_BLUE if set(trio) <= set(names)), None)
    chosen = [names.index(n) for n in known] if known else [0, 1, 2] if len(names) > 2 else [0, 0, 0]
    low = np.array([statistics.bands[i].p01 for i in chosen], np.float32)
    high = np.array([statistics.bands[i].p99 for i in chosen], np.float32)
    picture = (image[chosen].transpose(1, 2, 0) - low) / np.maximum(high - low, 1e-9)
    return np.asarray(np.clip(picture, 0, 1), np.float32)
