"""What is watched: the bands, the spectral indices that they allow, and the map that the model made of them.

How the bands are drawn is in ``texture``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.scenes.scene import MaskBit

Columns = dict[str, NDArray]
"""Name to values ``(pixels,)``: float32 for measures, strings for categories."""

UNUSABLE = np.uint8(MaskBit.NODATA | MaskBit.CLOUD | MaskBit.SHADOW)

CLASS = "map.class"
CONFIDENCE = "map.confidence"
ENTROPY = "map.entropy"
MASK = "scene.mask"
GROUND = "scene.ground"
"""Which block of ground a pixel lies on, an integer: for what a reference can learn of its own spread."""
UNWATCHED = (MASK, GROUND)
DARK = "dark."
"""What names of features of a scene's darkest pixels begin with."""
_DARKEST = 0.1

# Sentinel-2 names first, then the words that other sources use.
_ROLES = {
    "green": ("b03", "green", "g"),
    "red": ("b04", "red", "r"),
    "nir": ("b08", "b8a", "nir", "near_infrared", "n"),
    "swir1": ("b11", "swir16", "swir1", "swir"),
    "swir2": ("b12", "swir22", "swir2"),
}
_INDICES = {
    "ndvi": ("nir", "red"),  # Rouse et al. 1974: vegetation
    "ndwi": ("green", "nir"),  # McFeeters 1996: open water
    "ndbi": ("swir1", "nir"),  # Zha et al. 2003: built-up and bare ground
    "nbr": ("nir", "swir2"),  # Key and Benson 2006: burned ground
}


def band_feature(band: str) -> str:
    """The name under which a band is watched."""
    return f"band.{band}"


def indices(bands: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Normalised differences ``(a - b) / (a + b)`` that ``bands`` allow: name to the positions of a and b."""
    names = [band.lower() for band in bands]
    position = {
        role: names.index(next(alias for alias in aliases if alias in names))
        for role, aliases in _ROLES.items()
        if any(alias in names for alias in aliases)
    }
    named = {
        f"index.{name}": (position[a], position[b])
        for name, (a, b) in _INDICES.items()
        if a in position and b in position
    }
    known = {frozenset(pair) for pair in named.values()}
    ring = [(i, (i + 1) % len(bands)) for i in range(len(bands))] if len(bands) > 2 else []
    return named | {f"index.{bands[a]}-{bands[b]}": (a, b) for a, b in ring if frozenset((a, b)) not in known}


def input_features(bands: Sequence[str], pixels: NDArray[np.float32]) -> Columns:
    """Bands and indices of ``pixels`` ``(bands, n)``, float32 in physical units. A sum near 0 gives an index of 0.

    Among the indices is the colour between neighbouring bands, and between the last and the first, which hardly varies
    with light and slope, but with haze, an offset and exchanged bands.
    """
    columns: Columns = {band_feature(band): pixels[i].astype(np.float32) for i, band in enumerate(bands)}
    for name, (a, b) in indices(bands).items():
        total = pixels[a] + pixels[b]
        safe = np.abs(total) > 1e-6
        ratio = np.divide(pixels[a] - pixels[b], total, out=np.zeros_like(total), where=safe)
        columns[name] = np.clip(ratio, -1, 1).astype(np.float32)
    return columns


def dark_features(bands: Sequence[str], columns: Columns) -> Columns:
    """The bands and indices among ``columns`` once more, of the darkest tenth of the pixels alone, NaN elsewhere.

    Water, shadow and dense forest are about as dark everywhere, so what is added to all pixels, haze or an offset, and
    bands that were exchanged show in them however different the places are (dark-object subtraction, Chavez 1988,
    rests on the same). Darkness is the mean of the bands.
    """
    names = [band_feature(band) for band in bands]
    if not all(name in columns for name in names):
        return {}
    light = np.mean([columns[name] for name in names], axis=0)
    dark = light <= np.quantile(light, _DARKEST) if len(light) else np.zeros(0, bool)
    watched = [*names, *indices(bands)]
    return {DARK + name: np.where(dark, columns[name], np.float32(np.nan)) for name in watched}


def output_features(classes: Sequence[str], probabilities: NDArray[np.float32]) -> Columns:
    """Class, confidence and entropy of ``probabilities`` ``(classes, n)``; entropy as a share of its greatest value."""
    safe = np.clip(probabilities, 1e-12, 1)
    entropy = -(safe * np.log(safe)).sum(axis=0) / np.log(max(len(classes), 2))
    return {
        CLASS: np.asarray(classes, object)[probabilities.argmax(axis=0)],
        CONFIDENCE: probabilities.max(axis=0).astype(np.float32),
        ENTROPY: entropy.astype(np.float32),
    }


def mask_feature(mask: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Mask bits ``(n,)`` as words: usable, nodata, cloud or shadow; the first that holds, in this order from nodata."""
    bits = np.asarray(mask)
    words = np.full(bits.shape, "usable", object)
    for bit, word in ((MaskBit.SHADOW, "shadow"), (MaskBit.CLOUD, "cloud"), (MaskBit.NODATA, "nodata")):
        words[(bits & bit) > 0] = word
    return words


def watched(columns: Mapping[str, object]) -> list[str]:
    """Names that count towards the verdict. How cloudy it was says nothing of the model, so the mask does not."""
    return sorted(name for name in columns if name not in UNWATCHED)


def plain(feature: str) -> str:
    """A feature as people say it: ``band.B02`` is B02, ``index.ndvi`` NDVI, ``map.class`` class shares."""
    kind, name = feature.split(".", 1)
    if feature.startswith(DARK):
        return f"{plain(name)} of the darkest tenth"
    if kind == "index":
        return name.upper()
    if kind in ("detail", "register"):
        return f"{kind} of {name.replace('-', ' and ')}"
    return "class shares" if feature == "map.class" else name
