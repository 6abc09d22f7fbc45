"""What computing in bfloat16 would change in a model's maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassJaccardIndex

from pipelines.bundle.contract import Rounding
from pipelines.bundle.session import cores, has_bf16, open_graph
from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.statistics import fill_masked
from pipelines.training.losses import IGNORE

_BATCH = 16
_CHIPS = 256  # an even sample; more change the shares in the third digit
_LEAST = 1000  # pixels; the IoU of a class with fewer hangs on single ones


def rounding(graph: Path, store: ChipStore, means: NDArray[np.float32]) -> Rounding | None:
    """Of the ONNX file ``graph``, against itself in full precision.

    ``None`` where this machine does not compute in bfloat16, or too little is labelled.
    """
    rows = store.rows("val")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _CHIPS)).astype(np.int64))]
    if not has_bf16() or not len(rows):
        return None
    full, short = (open_graph(graph, cores(), precision) for precision in ("f32", "bf16"))
    scores = [MulticlassJaccardIndex(len(store.classes), average="none", ignore_index=IGNORE) for _ in range(2)]
    changed = pixels = 0
    seen = np.zeros(len(store.classes), np.int64)
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        images, labels, masks = store.gather(part)
        filled = fill_masked(physical(images, store.scale[part], store.offset[part]), masks, means)
        known = labels != IGNORE
        classes = [graph(filled).argmax(axis=1) for graph in (full, short)]
        pixels += int(known.sum())
        seen += np.bincount(labels[known], minlength=len(seen))
        changed += int((classes[0] != classes[1])[known].sum())
        for score, found in zip(scores, classes, strict=True):
            score.update(torch.from_numpy(found), torch.from_numpy(labels))
    if not pixels:
        return None
    before, after = (score.compute().numpy()[seen >= _LEAST] for score in scores)
    if not len(before):  # no class has enough pixels to tell what it loses
        return None
    return Rounding(pixels=pixels, changed=changed / pixels, lost=float(max(0.0, *(before - after))))
