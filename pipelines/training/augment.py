"""Augmentation of whole batches, from a generator of its own so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.scenes.scene import MaskBit

BRIGHTNESS, CONTRAST, COLOR = 0.2, 0.3, 0.1  # largest relative changes
HAZE = 0.3  # largest shift, in standard deviations of the band


def augment(
    images: Tensor,
    labels: Tensor,
    masks: Tensor,
    names: Collection[str],
    generator: torch.Generator,
    stds: NDArray[np.float32],
) -> tuple[Tensor, Tensor, Tensor]:
    """Each chip with its labels and mask, changed by chance of its own in the ways of ``names``.

    ``images`` is float32 ``(n, bands, side, side)`` in physical units, ``labels`` and ``masks`` are
    ``(n, side, side)``, ``stds`` are those of the train split, ``(bands,)``. ``flip`` mirrors along either axis,
    ``rotate90`` turns by quarters. ``brightness`` multiplies a chip's values by 0.8 to 1.2, as light does, ``color``
    each band by 0.9 to 1.1, ``contrast`` their distance from the band's mean over the chip by 0.7 to 1.3, and ``haze``
    adds up to 0.3 standard deviations to all bands together. Masked pixels decide nothing, whatever they hold.
    """
    count, bands = images.shape[:2]

    def chance(reach: float, *shape: int) -> Tensor:
        return reach * (2 * torch.rand((count, *shape, 1, 1), generator=generator) - 1)

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
        images = images * (1 + chance(BRIGHTNESS, 1))
    if "color" in names:
        images = images * (1 + chance(COLOR, bands))
    if "contrast" in names:
        means = _means(images, masks)
        images = means + (images - means) * (1 + chance(CONTRAST, 1))
    if "haze" in names:
        images = images + torch.from_numpy(stds).reshape(1, -1, 1, 1) * chance(HAZE, 1)
    return images, labels, masks


def _means(images: Tensor, masks: Tensor) -> Tensor:
    """Mean of each chip's clear pixels, ``(n, bands, 1, 1)``."""
    clear = ((masks & ~int(MaskBit.UNLABELLED)) == 0)[:, None]
    return images.where(clear, 0).sum((-2, -1), keepdim=True) / clear.sum((-2, -1), keepdim=True).clamp(min=1)


def _changed(field: Tensor, chosen: Tensor, value: Tensor) -> Tensor:
    changed = field.clone()
    changed[chosen] = value
    return changed
