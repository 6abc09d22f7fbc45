"""Drift on demand: what may go wrong with scenes that arrive later, each with a strength that can be measured.

gain      reflectance is multiplied by 1 + strength
offset    pixels lack 1000 * strength of the offset that their metadata declare; at 1 it has been taken off already,
          as in many catalogs
haze      a mean share ``strength`` of each pixel, at most 0.95, is haze
noise     sensor noise of deviation 0.1 * strength reflectance is added
bandswap  a share ``strength`` of B04 and of B08 is the other's
season    plants are 182 * strength days ahead of the date
blur      the image is blurred by a Gaussian of 4 * strength pixels
shift     the image lies 10 * strength pixels too far east and half that too far south
"""

from __future__ import annotations

import re
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy import ndimage

from pipelines.errors import BadData
from pipelines.sample import noise
from pipelines.sample.spectra import BANDS, HAZE

Kind = Literal["gain", "offset", "haze", "noise", "bandswap", "season", "blur", "shift"]


class Drift(BaseModel):
    """One kind of drift. A strength of 0 changes nothing; 1 is severe."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    strength: float = Field(ge=0, le=2)

    def __str__(self) -> str:
        return f"{self.kind}:{self.strength:g}"

    @property
    def slug(self) -> str:
        """For names of scenes: ``haze050`` is haze of strength 0.5, and no other strength is called so."""
        percent = f"{round(self.strength * 100, 8):g}".replace(".", "p")
        return f"{self.kind}{percent:0>3}"

    def amount(self, kind: Kind) -> float:
        """The strength where ``kind`` is this drift's, 0 elsewhere."""
        return self.strength if kind == self.kind else 0.0


NONE = Drift(kind="gain", strength=0.0)


def parse_drift(text: str) -> Drift:
    """Read ``KIND:STRENGTH``. Raises ``BadData`` where it is no such thing."""
    match = re.fullmatch(r"([a-z]+):([0-9.]+)", text)
    try:
        return Drift.model_validate({"kind": match[1], "strength": match[2]} if match else {})
    except ValidationError:
        kinds = ", ".join(get_args(Kind))
        raise BadData(
            f"Drift {text!r} is not KIND:STRENGTH; give one of {kinds}, and 0 to 2, as in haze:0.5."
        ) from None


def drifted(pixels: noise.Field, drift: Drift, rng: np.random.Generator) -> noise.Field:
    """``pixels``, reflectance ``(bands, size, size)``, after gain, haze, noise, band swap or blur."""
    strength = drift.strength
    if not strength:
        return pixels
    if drift.kind == "gain":
        return np.asarray(pixels * np.float32(1 + strength))
    if drift.kind == "haze":
        veil = 0.2 * noise.fractal(rng, pixels.shape[-1], slope=3.0, longest=400)
        thick = np.clip(strength * (1 + veil), 0, 0.95).astype(np.float32)
        return np.asarray(pixels * (1 - thick) + HAZE[:, None, None] * thick)
    if drift.kind == "noise":
        return pixels + np.float32(0.1 * strength) * rng.standard_normal(pixels.shape, dtype=np.float32)
    if drift.kind == "bandswap":
        red, infrared, share = BANDS.index("B04"), BANDS.index("B08"), np.float32(min(strength, 1.0))
        mixed = pixels.copy()
        mixed[red] += share * (pixels[infrared] - pixels[red])
        mixed[infrared] += share * (pixels[red] - pixels[infrared])
        return mixed
    if drift.kind == "blur":
        return np.asarray([ndimage.gaussian_filter(band, 4 * strength) for band in pixels], np.float32)
    return pixels


def displaced(image: np.ndarray, drift: Drift) -> np.ndarray:
    """``image`` ``(..., size, size)`` moved east and south by the drift's shift; what comes in repeats the border."""
    east = round(10 * drift.amount("shift"))
    south = round(5 * drift.amount("shift"))
    if not east and not south:
        return image
    steps = np.arange(image.shape[-1])
    return image[..., np.clip(steps - south, 0, None), :][..., np.clip(steps - east, 0, None)]
