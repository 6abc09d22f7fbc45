"""A scene in memory, with its truth: what the benchmark of drift changes, maps and watches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime as Moment
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.scenes.scene import MaskBit

IGNORE, UNSEEN = 255, 254
REFLECTANCE, DISPLAY = 1.0, 255 / 0.3558  # what a reflectance of 1 is in the pixels; true-colour images end at 0.3558


@dataclass(frozen=True)
class Look:
    """One scene. ``bands`` are common names, ``pixels`` ``(bands, h, w)`` float32, ``mask`` ``(h, w)`` bits of
    ``MaskBit``, ``labels`` ``(h, w)`` class indices: ``IGNORE`` where unknown, ``UNSEEN`` where no class is right."""

    id: str
    place: str
    season: str
    zone: str
    datetime: Moment
    bands: tuple[str, ...]
    pixels: NDArray[np.float32]
    mask: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    unit: float  # REFLECTANCE or DISPLAY

    @property
    def height(self) -> int:
        return self.mask.shape[0]

    @property
    def width(self) -> int:
        return self.mask.shape[1]

    @property
    def nodata_share(self) -> float:
        return float(((self.mask & MaskBit.NODATA) > 0).mean())

    @property
    def cloud_share(self) -> float:
        data = (self.mask & MaskBit.NODATA) == 0
        return float(((self.mask & (MaskBit.CLOUD | MaskBit.SHADOW)) > 0)[data].mean()) if data.any() else 0.0

    def changed(self, pixels: NDArray[np.floating], **more: Any) -> Look:
        """The same scene with other pixels, as its source would store them."""
        stored = np.clip(np.rint(pixels), 0, 255) if self.unit == DISPLAY else np.rint(pixels * 10_000) / 10_000
        return replace(self, pixels=stored.astype(np.float32), **more)
