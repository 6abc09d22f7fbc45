"""Three bands as red, green and blue: which ones make sense, and how bright."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from pipelines.atlas.layers import Atlas
from pipelines.errors import BadData
from pipelines.scenes.scene import Scene

log = logging.getLogger(__name__)

_ALIASES = {
    "blue": ("b02", "blue", "b"),
    "green": ("b03", "green", "g"),
    "red": ("b04", "red", "r"),
    "nir": ("b08", "b8a", "nir", "nir08", "n"),
    "swir16": ("b11", "swir16", "swir1"),
    "swir22": ("b12", "swir22", "swir2"),
}
_COMBINATIONS = {
    "True colour": ("red", "green", "blue"),
    "Colour infrared": ("nir", "red", "green"),
    "Short-wave infrared": ("swir22", "nir", "red"),
    "Agriculture": ("swir16", "nir", "blue"),
}
_LOOKED_AT = 8  # newest scenes that settle the stretch
_SIDE = 256  # pixels of the overview that is looked at
_SHARES = (2, 98)  # percentiles that become black and white


def combinations(bands: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Named combinations of ``bands`` in the order in which they are worth offering; at least one."""
    names = {name.lower(): name for name in bands}
    known = {
        colour: names[alias]
        for colour, aliases in _ALIASES.items()
        if (alias := next((a for a in aliases if a in names), None))
    }
    found = {
        title: (known[r], known[g], known[b]) for title, (r, g, b) in _COMBINATIONS.items() if {r, g, b} <= known.keys()
    }
    if found:
        return found
    first = tuple(bands[:3]) if len(bands) >= 3 else (bands[0],) * 3
    return {"First bands" if len(bands) >= 3 else bands[0]: (first[0], first[1], first[2])}


def picture(
    scene: Scene, pixels: NDArray[np.generic], bands: Sequence[str], stretch: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Pixels ``(bands, rows, columns)`` of ``scene`` as bytes of the same shape, between the limits of ``stretch``."""
    of = {band.name: band for band in scene.bands}
    scale = np.array([of[name].scale for name in bands], np.float32)[:, None, None]
    offset = np.array([of[name].offset for name in bands], np.float32)[:, None, None]
    low, high = stretch[:, 0, None, None], stretch[:, 1, None, None]
    shown = (pixels.astype(np.float32) * scale + offset - low) / np.maximum(high - low, 1e-9)
    result: NDArray[np.uint8] = np.nan_to_num(np.clip(shown, 0, 1) * 255).round().astype(np.uint8)
    return result


def stretch_of(atlas: Atlas, bands: Sequence[str]) -> NDArray[np.float32]:
    """Physical values ``(bands, 2)`` that become black and white, the same for all scenes, so that they compare.

    From the usable pixels of the newest scenes. Raises ``BadData`` for a band that no scene has.
    """
    return _stretch(_Key(atlas), tuple(bands))


class _Key:
    """An atlas that equals another one of the same content."""

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas

    def __hash__(self) -> int:
        return hash((self.atlas.project, self.atlas.digest))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and hash(self) == hash(other)


@lru_cache(maxsize=64)
def _stretch(key: _Key, bands: tuple[str, ...]) -> NDArray[np.float32]:
    atlas = key.atlas
    scenes = [scene for scene in atlas.scenes if set(bands) <= {band.name for band in scene.bands}]
    if not scenes:
        raise BadData(f"{atlas.project} has no scene with the bands {', '.join(bands)[:200]}.")
    found = [np.empty((len(bands), 0), np.float32)]
    for scene in scenes[:_LOOKED_AT]:
        try:
            found.append(_usable(scene, atlas, bands))
        except RasterioError as error:  # the others are worth seeing without it
            log.warning("%s cannot be shown: %s", scene.id, error)
    values = np.concatenate(found, axis=1)
    if values.shape[1] == 0:
        return np.tile(np.array([0, 1], np.float32), (len(bands), 1))
    return np.percentile(values, _SHARES, axis=1).T.astype(np.float32)


def _usable(scene: Scene, atlas: Atlas, bands: tuple[str, ...]) -> NDArray[np.float32]:
    """Physical values ``(bands, n)`` of the scene's unmasked pixels, from an overview."""
    factor = max(1, max(scene.width, scene.height) / _SIDE)
    shape = max(1, round(scene.height / factor)), max(1, round(scene.width / factor))
    names = [band.name for band in scene.bands]
    with rasterio.open(scene.image_path(atlas.catalog)) as image, rasterio.open(scene.mask_path(atlas.catalog)) as mask:
        pixels = scene.physical(image.read(out_shape=(len(names), *shape)))
        free = mask.read(1, out_shape=shape) == 0
    chosen = pixels[[names.index(name) for name in bands]][:, free]
    return chosen[:, np.isfinite(chosen).all(axis=0)]
