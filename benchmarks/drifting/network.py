"""A small convolutional network that learns the ground in seconds: what a change costs a model is measured on it.

It is a network and not the per-pixel forest of the evaluation, because blur, coarser pixels and bands out of register
leave single pixels much as they were and cost a network dearly; it is small, because only differences count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks.drifting.look import IGNORE, UNSEEN, Look

WIDTH, CROP, BATCH = 24, 64, 8


class Network:
    """Trained on the ground of ``looks`` where ``known`` says so; gives probabilities of a look."""

    def __init__(
        self, looks: Sequence[Look], known: NDArray[np.bool_], classes: int, steps: int, seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        usable = np.concatenate([look.pixels[:, (look.mask == 0) & known][:, ::37] for look in looks], axis=1)
        self.mean, self.deviation = usable.mean(axis=1)[:, None, None], usable.std(axis=1)[:, None, None]
        self.classes = classes
        self.net = nn.Sequential(
            *(nn.Conv2d(len(looks[0].bands), WIDTH, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(WIDTH, WIDTH, 3, padding=2, dilation=2), nn.ReLU()),
            *(nn.Conv2d(WIDTH, WIDTH, 3, padding=4, dilation=4), nn.ReLU()),
            nn.Conv2d(WIDTH, classes, 1),
        )
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.004)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
        for _ in range(steps):
            crops = [self._crop(looks[int(rng.integers(len(looks)))], known, rng) for _ in range(BATCH)]
            pixels = torch.from_numpy(np.stack([c[0] for c in crops]))
            truth = torch.from_numpy(np.stack([c[1] for c in crops]).astype(np.int64))
            loss = functional.cross_entropy(self.net(pixels), truth, ignore_index=IGNORE, reduction="sum")
            optimizer.zero_grad()
            (loss / max(int((truth != IGNORE).sum()), 1)).backward()
            optimizer.step()
            schedule.step()
        self.net.eval()

    def _crop(
        self, look: Look, known: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        top, left = (int(rng.integers(n - CROP + 1)) for n in look.mask.shape)
        place = np.s_[top : top + CROP, left : left + CROP]
        truth = np.where(known[place] & (look.mask[place] == 0), look.labels[place], IGNORE)
        pixels = self._scaled(look.pixels[:, *place] * rng.uniform(0.9, 1.1), look.mask[place])
        for axis in (0, 1):
            if rng.random() < 0.5:
                pixels, truth = np.flip(pixels, axis + 1), np.flip(truth, axis)
        return np.ascontiguousarray(pixels), np.ascontiguousarray(truth)

    def _scaled(self, pixels: NDArray[np.floating], mask: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.where(mask == 0, (pixels - self.mean) / self.deviation, 0.0).astype(np.float32)

    def __call__(self, look: Look) -> NDArray[np.float32]:
        """Probabilities ``(classes, h, w)`` float32."""
        with torch.inference_mode():
            answer = self.net(torch.from_numpy(self._scaled(look.pixels, look.mask))[None])
            return np.asarray(functional.softmax(answer, dim=1)[0].numpy(), np.float32)


def confusion(look: Look, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pixels by truth and answer, ``(classes + 1, classes)``; the last row is ground of a class that no model knows."""
    classes = len(probabilities)
    counted = (look.mask == 0) & (look.labels != IGNORE)
    truth = np.where(look.labels == UNSEEN, classes, look.labels)[counted].astype(np.int64)
    answer = probabilities.argmax(axis=0)[counted]
    return np.bincount(truth * classes + answer, minlength=(classes + 1) * classes).reshape(classes + 1, classes)


def mean_iou(counts: NDArray[np.int64]) -> float:
    """Over the classes that are there."""
    hit = np.diag(counts)
    union = counts.sum(axis=0) + counts[:-1].sum(axis=1) - hit
    present = counts[:-1].sum(axis=1) > 0
    return float((hit[present] / union[present]).mean()) if present.any() else float("nan")
