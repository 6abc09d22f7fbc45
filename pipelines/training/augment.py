"""Augmentation of whole batches, from a generator of its own so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

BRIGHTNESS = 0.2  # largest relative change


def augment(
    images: Tensor, labels: Tensor, masks: Tensor, names: Collection[str], generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Each chip with its labels and mask, flipped, turned and brightened by chance of its own.

    ``images`` is float32 ``(n, bands, side, side)`` in physical units, ``labels`` and ``masks`` are
    ``(n, side, side)``. ``flip`` mirrors along either axis, ``rotate90`` turns by quarters, ``brightness`` multiplies a
    chip's physical values by 0.8 to 1.2, as light and haze do.
    """
    count = len(images)
    fields = [images, labels, masks]
    if "flip" in names:
        for axis in (-2, -1):
            chosen = torch.rand(count, generator=generator) < 0.5
            fields = [_changed(field, chosen, field[chosen].flip(axis)) for field in fields]
    if "rotate90" in names:
        turns = torch.randint(4, (count,), generator=generator)
        for turn in (1, 2, 3):
            chosen = turns == turn
            fields = [_changed(field, chosen, field[chosen].rot90(turn, (-2, -1))) for field in fields]
    images, labels, masks = fields
    if "brightness" in names:
        gain = 1 + BRIGHTNESS * (2 * torch.rand((count, 1, 1, 1), generator=generator) - 1)
        images = images * gain
    return images, labels, masks


def _changed(field: Tensor, chosen: Tensor, value: Tensor) -> Tensor:
    changed = field.clone()
    changed[chosen] = value
    return changed
