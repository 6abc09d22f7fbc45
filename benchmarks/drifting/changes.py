"""What may go wrong with scenes: functions of a look, a strength in plain units and a random generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from benchmarks.drifting.look import UNSEEN, Look

Change = Callable[[Look, float, np.random.Generator], Look]
_HAZE = {
    "blue": 0.34,
    "green": 0.30,
    "red": 0.27,
    "nir": 0.24,
    "swir16": 0.12,
    "swir22": 0.08,
}
_BURNT = {"blue": 0.04, "green": 0.05, "red": 0.06, "nir": 0.09, "swir16": 0.20, "swir22": 0.19}
BLOCK = 32  # pixels


@dataclass(frozen=True)
class Kind:
    """A kind of change, the strengths at which it is tried, and what a strength is."""

    name: str
    strengths: tuple[float, ...]
    means: str
    change: Change | None = None  # None: the sample region renders it

    def at(self, strength: float) -> Kind:
        """This kind at one strength only."""
        return replace(self, strengths=(strength,))


def _gain(look: Look, strength: float, rng: np.random.Generator) -> Look:
    return look.changed(look.pixels * (1 + strength))


def _offset(look: Look, strength: float, rng: np.random.Generator) -> Look:
    return look.changed(look.pixels - 0.1 * strength * look.unit)


def _swap(look: Look, strength: float, rng: np.random.Generator) -> Look:
    a, b = look.bands.index("red"), look.bands.index("nir" if "nir" in look.bands else "blue")
    mixed = look.pixels.copy()
    mixed[a] += strength * (look.pixels[b] - look.pixels[a])
    mixed[b] += strength * (look.pixels[a] - look.pixels[b])
    return look.changed(mixed)


def _haze(look: Look, strength: float, rng: np.random.Generator) -> Look:
    veil = ndimage.gaussian_filter(rng.standard_normal(look.mask.shape), 40, mode="wrap")
    thick = np.clip(strength * (1 + 0.2 * veil / veil.std()), 0, 0.95)
    light = np.array([_HAZE[band] for band in look.bands])[:, None, None] * look.unit
    return look.changed(look.pixels * (1 - thick) + light * thick)


def _noise(look: Look, strength: float, rng: np.random.Generator) -> Look:
    return look.changed(look.pixels + strength * look.unit * rng.standard_normal(look.pixels.shape))


def _blur(look: Look, strength: float, rng: np.random.Generator) -> Look:
    return look.changed(np.stack([ndimage.gaussian_filter(band, strength) for band in _filled(look)]))


def _coarser(look: Look, strength: float, rng: np.random.Generator) -> Look:
    whole = torch.from_numpy(_filled(look))[None]
    coarse = functional.interpolate(whole, size=[round(n / strength) for n in look.mask.shape], mode="area")
    return look.changed(functional.interpolate(coarse, size=look.mask.shape, mode="bilinear")[0].numpy())


def _misregistered(look: Look, strength: float, rng: np.random.Generator) -> Look:
    filled = _filled(look)
    moved = [ndimage.shift(band, (strength / 2, strength), order=1, mode="nearest") for band in filled[1::2]]
    filled[1::2] = moved
    return look.changed(filled)


def _unseen(look: Look, strength: float, rng: np.random.Generator) -> Look:
    field = ndimage.gaussian_filter(rng.standard_normal(look.mask.shape), 10, mode="wrap")
    burnt = field > np.quantile(field, 1 - strength)
    colour = np.array([_BURNT[band] for band in look.bands])[:, None, None] * look.unit
    scar = colour * np.exp(0.15 * rng.standard_normal(look.mask.shape))
    return look.changed(
        np.where(burnt, scar, look.pixels), labels=np.where(burnt, UNSEEN, look.labels).astype(np.uint8)
    )


def _shares(look: Look, strength: float, rng: np.random.Generator) -> Look:
    """A share of the blocks becomes copies of those that hold most of the last class, or, unlabelled, are brightest."""
    tops, lefts = (np.arange(0, n - BLOCK + 1, BLOCK) for n in look.mask.shape)
    blocks = [np.s_[top : top + BLOCK, left : left + BLOCK] for top in tops for left in lefts]
    last = max((int(v) for v in np.unique(look.labels) if v < UNSEEN), default=None)
    worth = [
        float((look.labels[b] == last).mean() if last is not None else look.pixels[:, *b].mean())
        - float((look.mask[b] > 0).any())
        for b in blocks
    ]
    richest = np.argsort(worth)[-max(len(blocks) // 12, 1) :]
    pixels, labels, mask = look.pixels.copy(), look.labels.copy(), look.mask.copy()
    for i in rng.permutation(len(blocks))[: round(strength * len(blocks))]:
        source, target = blocks[int(rng.choice(richest))], blocks[i]
        pixels[:, *target], labels[target], mask[target] = (
            look.pixels[:, *source],
            look.labels[source],
            look.mask[source],
        )
    return look.changed(pixels, labels=labels, mask=mask)


def _filled(look: Look) -> NDArray[np.float32]:
    """The pixels with each band's mean where nothing is seen, so that filters carry no edge of the mask along."""
    fine = look.mask == 0
    return np.stack([np.where(fine, b, b[fine].mean() if fine.any() else 0.0) for b in look.pixels]).astype(np.float32)


KINDS = (
    Kind("gain", (0.05, 0.1, 0.2, 0.4), "brighter by", _gain),
    Kind("offset", (0.1, 0.25, 0.5, 1.0), "share of -1000", _offset),
    Kind("band swap", (0.1, 0.25, 0.5, 1.0), "share of red and nir exchanged (blue without nir)", _swap),
    Kind("haze", (0.05, 0.1, 0.2, 0.4), "share of haze in a pixel", _haze),
    Kind("noise", (0.005, 0.01, 0.02, 0.05), "deviation in reflectance", _noise),
    Kind("blur", (0.5, 1.0, 2.0, 4.0), "Gaussian of so many pixels", _blur),
    Kind("resolution", (1.5, 2.0, 3.0, 6.0), "times coarser, resampled back", _coarser),
    Kind("season", (0.1, 0.25, 0.5, 1.0), "half years by which plants are ahead"),
    Kind("unseen class", (0.02, 0.05, 0.1, 0.2), "share of burnt ground", _unseen),
    Kind("class shares", (0.1, 0.25, 0.5), "share of blocks that become of one class", _shares),
    Kind("misregistration", (0.5, 1.0, 2.0, 4.0), "pixels between neighbouring bands", _misregistered),
)
