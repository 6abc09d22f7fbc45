"""A picture of what a detector finds on val chips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import nn

from pipelines.config.params import LabelClass
from pipelines.dataset.statistics import Statistics
from pipelines.training.detection import ObjectBatch
from pipelines.training.objects import suppressed
from pipelines.training.plots import picture

_SAMPLES = 4
_SHOWN = 0.3  # least score of a box in the picture


@torch.inference_mode()
def objects_figure(
    trained: nn.Module,
    batches: Iterable[ObjectBatch],
    statistics: Statistics,
    classes: Sequence[LabelClass],
    device: torch.device,
) -> Figure:
    """True objects and found ones with their scores on the chips of one batch that show most."""
    trained = trained.to(device).eval()
    batch = max(batches, key=lambda batch: max(len(target["labels"]) for target in batch.targets))
    chosen = sorted(range(len(batch.targets)), key=lambda i: -len(batch.targets[i]["labels"]))[:_SAMPLES]
    answers = trained(batch.images[chosen].to(device)).float().cpu().numpy()
    figure = Figure(figsize=(7.5, 3.6 * len(chosen)), layout="constrained")
    for i, answer, panes in zip(chosen, answers, figure.subplots(len(chosen), 2, squeeze=False), strict=True):
        image = picture(batch.images[i].numpy(), statistics)
        truth, objects = batch.targets[i], suppressed(answer)
        shown = objects[objects.scores >= _SHOWN]
        for pane, title in zip(panes, ("true", "found"), strict=True):
            pane.imshow(image)
            pane.set_axis_off()
            pane.set_title(title if i == chosen[0] else "")
        _draw(panes[0], truth["boxes"].numpy(), truth["labels"].numpy(), classes)
        _draw(panes[1], shown.boxes, shown.classes, classes)
        for (left, top, _, _), score in zip(shown.boxes, shown.scores, strict=True):
            panes[1].text(left, top - 1, f"{score:.2f}", color="white", fontsize=6)
    return figure


def _draw(pane: Axes, boxes: NDArray[np.float32], indices: NDArray[np.integer], classes: Sequence[LabelClass]) -> None:
    for (left, top, right, bottom), index in zip(boxes - 0.5, indices, strict=True):  # pixels' centres are whole here
        color = classes[index].color
        frame = Rectangle((left, top), right - left, bottom - top, fill=False, color=color, linewidth=1.2)
        frame.set_path_effects([withStroke(linewidth=2.4, foreground="white")])
        pane.add_patch(frame)
