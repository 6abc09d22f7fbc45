"""Objects of a raster of any size, from windows of one size, in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import BadData
from pipelines.files import replacing
from pipelines.inference.arrays import Array, host
from pipelines.inference.merge import merged
from pipelines.inference.stitch import RowBand, row_bands
from pipelines.inference.strip import Source, Strip
from pipelines.inference.windows import Axis
from pipelines.labels.boxes import VISIBLE
from pipelines.training.objects import Objects, suppressed

Answers = Callable[[Array], Array]  # (n, bands, h, w) to (n, places, 4 + classes)
_NEAR = 2.0  # pixels from the edge of a window at which a box counts as cut off


def detected(
    source: Source,
    detector: Answers,
    *,
    fill: Sequence[float] | NDArray[np.float32],
    down: Axis,
    across: Axis,
    batch: int,
    calls: int = 1,
    kept: Path | None = None,
    tell: Callable[[int], None] = lambda row: None,
) -> Objects:
    """Objects of ``source`` in its pixels, ``merged`` over windows that overlap.

    Masked pixels are set to ``fill`` before the network sees them; windows without a usable pixel skip it. Of an object
    at the border windows see a reflection too, so objects end there, and those of which most lies beyond are dropped;
    so are those whose centre is masked. What
    was found is held in memory, a few bytes an object, pixels are not. With the folder ``kept``, each finished row of
    windows is put there, and taken from there when a killed run is started again. ``tell`` is told each row of pixels
    that is reached. The detector is asked in ``calls`` threads.
    """
    strip = Strip(source, np.asarray(fill, np.float32), down.window)
    rows = []

    def search(top: int, left: int, answer: NDArray[np.float32]) -> Objects:
        here = _placed(suppressed(answer), top, left, down, across)
        return here[strip.usable((here.boxes[:, :2] + here.boxes[:, 2:]) / 2)]

    with ThreadPoolExecutor(calls) as pool:
        for number, top in enumerate(down.starts):
            file = kept / f"objects-{number}.npz" if kept else None
            if file and file.exists():
                rows.append(_read(file))
                continue
            strip.move(down, top)
            batches = strip.batches(down, top, across, batch)
            found = []
            while some := list(islice(batches, calls)):
                given = pool.map(detector, (chips for _, chips in some))
                for (columns, _), answers in zip(some, map(host, given), strict=True):
                    if not np.isfinite(answers).all():
                        raise BadData("The model gave values that are not finite; check its weights and the input.")
                    found += [search(top, across.starts[c], one) for c, one in zip(columns, answers, strict=True)]
            rows.append(Objects.joined(found))
            if file:
                _write(file, rows[-1])
            tell(min(top + down.window, source.height))
    return merged(Objects.joined(rows))


def burned(
    source: Source,
    objects: Objects,
    *,
    threshold: float,
    classes: int,
    fill: Sequence[float] | NDArray[np.float32],
    down: Axis,
    start: int = 0,
) -> Iterator[RowBand]:
    """``objects`` as rows of probabilities, so that all that looks at maps can look at them.

    A pixel has the class of the object with the highest score around it. Scores are stretched so that ``threshold``
    becomes one half: above it an object is likelier than the background, and objects below it are left out.
    """
    shown = objects[objects.scores >= threshold]
    shown = shown[np.argsort(shown.scores, kind="stable")]
    means = np.asarray(fill, np.float32)[:, None, None]
    corners = np.rint(shown.boxes).astype(np.int64)
    for band in row_bands(down, start):
        found, mask = source.read(band)
        pixels = host(found)
        np.copyto(pixels, means, where=mask[None] != 0)
        probabilities = np.zeros((classes, band.stop - band.start, source.width), np.float32)
        probabilities[0] = 1.0
        for i in np.flatnonzero((corners[:, 1] < band.stop) & (corners[:, 3] > band.start)):
            left, top, right, bottom = corners[i]
            inside = slice(max(top - band.start, 0), max(bottom - band.start, 0)), slice(max(left, 0), right)
            certainty = 0.501 + 0.499 * (shown.scores[i] - threshold) / max(1 - threshold, 1e-6)  # never a tie
            probabilities[:, *inside] = 0.0
            probabilities[0, *inside] = 1 - certainty
            probabilities[shown.classes[i], *inside] = certainty
        yield RowBand(band, pixels, mask, probabilities)


def _placed(objects: Objects, top: int, left: int, down: Axis, across: Axis) -> Objects:
    """The objects of the window at ``top`` and ``left`` in pixels of the raster."""
    x0, y0, x1, y1 = objects.boxes.T
    sides = np.array([across.window, down.window] * 2, np.float32)
    raster = np.array([across.length, down.length] * 2, np.float32)
    inner = left > 0, top > 0, left + across.window < across.length, top + down.window < down.length  # no border there
    near = x0 < _NEAR, y0 < _NEAR, x1 > across.window - _NEAR, y1 > down.window - _NEAR
    cut = np.stack([edge & close for edge, close in zip(inner, near, strict=True)], axis=1)
    seen = np.clip(objects.boxes, 0, sides) + np.array([left, top, left, top], np.float32)
    boxes = np.clip(seen, 0, raster)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (seen, boxes)]
    here = (areas[1] > 0) & (areas[1] >= VISIBLE * areas[0])
    return Objects(boxes, objects.scores, objects.classes, cut)[here]


def _write(file: Path, objects: Objects) -> None:
    content = io.BytesIO()
    np.savez(content, **asdict(objects))
    with replacing(file) as draft:
        draft.write_bytes(content.getvalue())


def _read(file: Path) -> Objects:
    with np.load(file, allow_pickle=False) as state:
        return Objects(**dict(state))
