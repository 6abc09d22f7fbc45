"""Small pictures of scenes and maps, and drawings of distributions, that live inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling

from pipelines.depot import brought
from pipelines.monitoring.drift import Histogram

SIDE = 320  # pixels of the longer side


def quicklook(image: Path) -> str | None:
    """A PNG of a scene's image as a ``data:`` address, red, green and blue where the names of its bands tell.

    ``None`` without an image.

    Each channel is stretched from its 2nd to its 98th percentile, clouds and shadows left out where the scene's mask
    lies beside the image: a white cloud would leave the ground black.
    """
    if not brought(image).exists():
        return None
    with rasterio.open(image) as source:
        channels = visible([name or "" for name in source.descriptions], source.count)
        pixels = source.read(channels, out_shape=(len(channels), *_size(source)), masked=True)
    hidden = _hidden(image.with_name("mask.tif"), pixels.shape[1:])
    shown = np.stack([stretched(channel, hidden) for channel in pixels])
    alpha = np.where(np.ma.getmaskarray(pixels).all(axis=0), 0, 255).astype(np.uint8)
    return _address(Image.fromarray(np.dstack([*shown[[0, 1, 2] if len(shown) == 3 else [0, 0, 0]], alpha])))


def map_picture(classes: Path) -> str | None:
    """A PNG of a class map in the colours of its own table, as a ``data:`` address; ``None`` without the map."""
    if not brought(classes).exists():
        return None
    with rasterio.open(classes) as source:
        index = source.read(1, out_shape=_size(source), resampling=Resampling.mode, masked=True)
        table = source.colormap(1)
    colours = np.zeros((256, 4), np.uint8)
    for value, colour in table.items():
        colours[value] = colour
    pixels = colours[np.ma.getdata(index).astype(np.uint8)]
    pixels[np.ma.getmaskarray(index)] = 0
    return _address(Image.fromarray(pixels))


def drawing(histogram: Histogram) -> str:
    """An SVG of both distributions; its colours are the page's own, so that it follows the theme."""
    return _bars(histogram) if histogram.categories else _outline(histogram)


def _outline(h: Histogram) -> str:
    width, height = 280.0, 90.0
    top = max(*h.here, *h.usual, 1e-9)
    step = width / len(h.here)

    def path(values: Sequence[float]) -> str:
        points = [
            f"L{i * step + side * step:.1f},{height - v / top * height:.1f}"
            for i, v in enumerate(values)
            for side in (0, 1)
        ]
        return f"M0,{height:g}{''.join(points)}L{width:g},{height:g}"

    ticks = "".join(
        f'<text x="{width * at:.0f}" y="{height + 14:g}" text-anchor="{anchor}">'
        f"{h.edges[0] + (h.edges[-1] - h.edges[0]) * at:.3g}</text>"
        for at, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    return (
        f'<svg viewBox="0 0 {width:g} {height + 18:g}" role="img"><path class="usual" d="{path(h.usual)}Z"/>'
        f'<path class="here" d="{path(h.here)}"/>{ticks}</svg>'
    )


def _bars(h: Histogram) -> str:
    from html import escape

    row, width = 26, 280
    parts = []
    for i, (name, here, usual) in enumerate(zip(h.categories, h.here, h.usual, strict=True)):
        y = i * row
        parts.append(
            f'<text x="0" y="{y + 15}">{escape(name)}</text>'
            f'<rect class="usual" x="90" y="{y + 3}" width="{usual * (width - 90):.1f}" height="8"/>'
            f'<rect class="bar" x="90" y="{y + 12}" width="{here * (width - 90):.1f}" height="8"/>'
        )
    return f'<svg viewBox="0 0 {width} {row * len(h.categories)}" role="img">{"".join(parts)}</svg>'


def visible(bands: Sequence[str], count: int) -> list[int]:
    """Numbers, from 1, of the bands to show as red, green and blue, or of one to show as grey."""
    names = [band.lower() for band in bands]
    found = [
        next((names.index(alias) + 1 for alias in aliases if alias in names), None)
        for aliases in (("b04", "red", "r"), ("b03", "green", "g"), ("b02", "blue", "b"))
    ]
    if None not in found:
        return [band for band in found if band is not None]
    return [1, 2, 3] if count >= 3 else [1]


def _hidden(mask: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if not brought(mask).exists():
        return np.zeros(shape, bool)
    with rasterio.open(mask) as source:
        return np.asarray(source.read(1, out_shape=shape) != 0)


def stretched(channel: np.ma.MaskedArray, hidden: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """``channel`` as bytes, its 2nd percentile black and its 98th white, not looking at what is ``hidden``."""
    valid = np.ma.masked_where(hidden, channel).compressed()
    valid = valid[np.isfinite(valid)]
    if not valid.size:
        return np.zeros(channel.shape, np.uint8)
    low, high = np.percentile(valid, (2, 98))
    scaled = (np.ma.filled(channel.astype(np.float32), low) - low) / max(high - low, 1e-9)
    return np.asarray(np.clip(np.nan_to_num(scaled), 0, 1) * 255, np.uint8)


def _size(source: rasterio.DatasetReader) -> tuple[int, int]:
    shrink = max(max(source.width, source.height) / SIDE, 1.0)
    return max(round(source.height / shrink), 1), max(round(source.width / shrink), 1)


def _address(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
