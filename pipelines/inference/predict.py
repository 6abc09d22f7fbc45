"""One raster into one folder of maps."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray

from pipelines.ahead import ahead
from pipelines.bundle.contract import Contract
from pipelines.bundle.store import Bundle
from pipelines.config.params import Also, Task
from pipelines.files import replacing
from pipelines.inference.detect import burned, detected
from pipelines.inference.ensemble import Ensemble
from pipelines.inference.item import made_by, tags, write_item
from pipelines.inference.layers import CLASSES, Layer, layers
from pipelines.inference.memory import Share, share
from pipelines.inference.outlines import write_objects
from pipelines.inference.polygons import write_polygons
from pipelines.inference.provenance import Prediction, here
from pipelines.inference.raster import Raster, RasterSource
from pipelines.inference.runtime import Runtime
from pipelines.inference.seams import seam_score
from pipelines.inference.stitch import Observer, RowBand, stitched
from pipelines.inference.windows import Axis, axes
from pipelines.inference.writer import MapWriter, alone_at
from pipelines.progress import report
from pipelines.training.objects import Objects

PROFILE = "profile.bin"
log = logging.getLogger(__name__)


class Recorder(Observer, Protocol):
    """An observer that leaves a file beside the maps, and can be set down and taken up by another process."""

    def write(self, path: Path) -> None: ...
    def state(self) -> dict[str, NDArray]: ...
    def restore(self, state: dict[str, NDArray]) -> None: ...


_AT_ONCE = 4 * 2**20  # pixels of windows that a GPU is given at a time, where a batch has fewer


@dataclass(frozen=True)
class Tiling:
    """How a raster is cut: at most ``window`` pixels a side and ``batch`` windows at once; ``max_memory`` bytes of the
    whole process, or on a GPU of GDAL's cache.
    """

    window: int
    overlap: int
    batch: int
    max_memory: int

    @staticmethod
    def of(
        contract: Contract,
        runtime: Runtime | Ensemble,
        max_memory: int,
        window: int | None = None,
        overlap: int | None = None,
        batch: int | None = None,
    ) -> Tiling:
        """The contract's own, but for what is given. On a GPU a batch is large enough to keep it busy."""
        window = contract.window if window is None else window
        usual = contract.batch if runtime.device is None else max(contract.batch, _AT_ONCE // window**2)
        return Tiling(window, contract.overlap if overlap is None else overlap, batch or usual, max_memory)

    def axes(self, raster: Raster, task: Task) -> tuple[Axis, Axis]:
        return axes(raster.height, raster.width, self.window, self.overlap, task)


@dataclass(frozen=True)
class Mapped:
    """What one prediction made."""

    id: str
    megapixels: float
    seconds: float
    class_pixels: dict[str, int]


def predict(
    raster: Raster,
    bundle: Bundle,
    runtime: Runtime | Ensemble,
    target: Path,
    tiling: Tiling,
    *,
    recorder: Recorder | None = None,
    also: Sequence[Also] = (),
    simplify: float = 0.0,
) -> Mapped:
    """Map ``raster`` into the folder ``target``: ``classes.tif``, ``confidence.tif``, ``item.json``, what ``recorder``
    writes, and what ``also`` asks for; ``simplify`` is that of its polygons. What a detector finds is there too, as
    boxes with their scores, and the rasters show where these lie.

    The folder appears whole or not at all. A killed run leaves its finished rows in a hidden folder beside it, and the
    next one with the same input goes on from there to the same bytes. Raises ``BadData`` for input or memory that will
    not do, ``SwathError`` where another process is at the same target.
    """
    began = time.monotonic()
    contract = bundle.contract
    work = target.parent / f".{target.name}.work"
    down, across = tiling.axes(raster, contract.task)
    with alone_at(target), raster.open(runtime.device) as source:
        allowance = share(
            tiling.max_memory,
            runtime,
            bands=source.bands,
            width=source.width,
            classes=runtime.channels,
            down=down,
            across=across,
            batch=tiling.batch,
            block_row=source.block_row,
        )
        shown = layers(contract.classes, also, isinstance(runtime, Ensemble))
        writer = MapWriter(work, raster, shown, _key(raster, runtime, tiling, allowance.batch, shown))
        _take_up(writer, recorder, work)
        with rasterio.Env(GDAL_CACHEMAX=allowance.cache):
            objects = None
            if contract.task == "detection":
                objects = _objects(source, contract, runtime, (down, across), allowance, work, raster.id)
            rows = _bands(source, contract, runtime, (down, across), allowance, writer.rows, objects)
            with closing(ahead(rows, 1 if runtime.device else 0)) as bands:  # a GPU goes on while rows are written
                for band in bands:
                    _put(writer, recorder, work, band, len(contract.classes))
                    report(band.rows.stop, raster.height, f"rows of {raster.id}")
            with replacing(target) as draft:
                draft.mkdir()
                told = made_by(bundle) | {"swath:source_sha256": raster.sha256}
                class_pixels = writer.finish(draft, contract.classes, tags(told))
                if objects is not None:
                    write_objects(objects[objects.scores >= contract.threshold], raster, contract.classes, draft)
                if "polygons" in also:
                    write_polygons(draft / CLASSES, draft, contract.classes, simplify)
                if recorder:
                    recorder.write(draft / PROFILE)
                seams = seam_score(writer.classes, down, across)
                bundles = runtime.bundles if isinstance(runtime, Ensemble) else (bundle,)
                made = _provenance(raster, runtime, tiling, allowance.batch)
                write_item(draft, raster, bundles, shown, class_pixels, seams, made, simplify)
        shutil.rmtree(work)
    mapped = Mapped(raster.id, raster.width * raster.height / 1e6, time.monotonic() - began, class_pixels)
    log.info("mapped %s: %.1f megapixels in %.1f s", mapped.id, mapped.megapixels, mapped.seconds)
    return mapped


def _provenance(raster: Raster, runtime: Runtime | Ensemble, tiling: Tiling, batch: int) -> Prediction:
    return Prediction(
        **here(runtime.engine),
        engine=runtime.engine,
        window=tiling.window,
        overlap=tiling.overlap,
        batch=batch,
        max_memory=tiling.max_memory,
        scale=raster.scale,
        offset=raster.offset,
    )


def _bands(
    source: RasterSource,
    contract: Contract,
    runtime: Runtime | Ensemble,
    grid: tuple[Axis, Axis],
    allowance: Share,
    start: int,
    objects: Objects | None,
) -> Iterator[RowBand]:
    """Rows of probabilities, of ``objects`` where these are what the model finds."""
    common: dict[str, Any] = {"classes": runtime.channels, "fill": contract.means, "start": start}
    down, across = grid
    if objects is not None:
        return burned(source, objects, threshold=contract.threshold, down=down, **common)
    common |= {"batch": allowance.batch, "max_memory": allowance.kernel, "calls": allowance.calls}
    common |= {"read_ahead": runtime.device is not None}
    return stitched(source, runtime, down=down, across=across, **common)


def _objects(
    source: RasterSource,
    contract: Contract,
    runtime: Runtime | Ensemble,
    grid: tuple[Axis, Axis],
    allowance: Share,
    work: Path,
    id: str,
) -> Objects:
    return detected(
        source,
        runtime,
        fill=contract.means,
        down=grid[0],
        across=grid[1],
        batch=allowance.batch,
        calls=allowance.calls,
        kept=work,
        tell=lambda row: report(row, source.height, f"rows of {id} searched"),
    )


def _take_up(writer: MapWriter, recorder: Recorder | None, work: Path) -> None:
    if not writer.rows or recorder is None:
        return
    kept = _state_path(work, writer.rows)
    if kept.exists():
        with np.load(kept, allow_pickle=False) as state:
            recorder.restore(dict(state))
    else:  # an attempt without a recorder left these rows
        writer.restart()


def _put(writer: MapWriter, recorder: Recorder | None, work: Path, band: RowBand, classes: int) -> None:
    if recorder is not None:
        recorder(band.rows, band.pixels, band.mask, band.probabilities[:classes])
        with replacing(_state_path(work, band.rows.stop)) as draft, draft.open("wb") as stream:
            np.savez(stream, **recorder.state())  # type: ignore[arg-type]
    writer.write(band.rows, band.probabilities, band.mask)
    _state_path(work, band.rows.start).unlink(missing_ok=True)


def _state_path(work: Path, rows: int) -> Path:
    """Named by the rows it holds, so that the journal always finds its own."""
    return work / f"recorder-{rows}.npz"


def _key(raster: Raster, runtime: Runtime | Ensemble, tiling: Tiling, batch: int, shown: Sequence[Layer]) -> str:
    """Names all that the finished rows depend on."""
    facts = [raster.sha256, raster.mask_sha256, raster.indexes, raster.scale, raster.offset, raster.nodata]
    facts += [runtime.digest, runtime.engine, tiling.window, tiling.overlap, batch]
    facts += [layer.file for layer in shown]
    made = here(runtime.engine)  # another version may answer otherwise, and the item names one
    facts += [made["processor"], made["software"], str(made["code"])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
