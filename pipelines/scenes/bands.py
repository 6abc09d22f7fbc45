"""The bands of a scene on one grid, read window by window from wherever they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.dtypes import in_dtype_range
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from pipelines.config.params import CloudMask, Scenes
from pipelines.errors import BadData
from pipelines.scenes.area import Bounds
from pipelines.scenes.candidate import Candidate, Quantity, public
from pipelines.scenes.links import Links
from pipelines.scenes.remote import explained, opened
from pipelines.scenes.scene import UNMEASURED, MaskBit, without_data
from pipelines.scenes.size import require_bearable
from pipelines.scenes.unplaced import place_for
from pipelines.scenes.window import window_of

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_TILE = 2048  # columns of a window; sources stored in whole rows are read in whole rows
_ROWS = 512
_BYTES = 2**28  # of a window in whole rows, about


@dataclass(frozen=True)
class _File:
    href: str
    dataset: Any  # a rasterio dataset on the scene's grid
    indexes: tuple[int, ...]
    mask: Any = None  # a dataset on that grid with the mask of the file, if it has one
    nodata: float | None = None  # a number that stands for NaN in this file


@dataclass(frozen=True)
class Bands:
    """A scene's bands, open for reading. Windows count from the scene's own upper left corner."""

    crs: Any
    transform: Affine
    width: int
    height: int
    corner: tuple[int, int]  # column and row of the first pixel in the finest file
    dtype: str
    nodata: float | None
    quantities: tuple[Quantity | None, ...]
    _window: Window
    _files: tuple[_File, ...]
    _classes: _File | None
    _cloud_mask: CloudMask
    _links: Links

    def windows(self) -> Iterator[Window]:
        """Windows that cover the scene, row by row."""
        by_row = any(f.dataset.block_shapes[0][1] >= f.dataset.width for f in self._files)
        step, rows = (self.width, self._rows()) if by_row else (_TILE, _ROWS)
        for row in range(0, self.height, rows):
            for column in range(0, self.width, step):
                yield Window(column, row, min(step, self.width - column), min(rows, self.height - row))

    def _rows(self) -> int:
        row = self.width * sum(len(f.indexes) for f in self._files) * np.dtype(self.dtype).itemsize
        return max(1, min(_ROWS, _BYTES // row))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Pixels ``(bands, rows, columns)`` in ``dtype`` and mask ``(rows, columns)``, uint8 bits of ``MaskBit``.

        Raises ``BadData`` for a block that cannot be read, and for NaN where NaN is not the nodata value.
        """
        parts, valid = [], np.ones((window.height, window.width), bool)
        for file in self._files:
            part = self._pixels(file, window)
            if file.nodata is not None:
                part[part == file.nodata] = self.nodata
            if file.mask is not None:
                with explained(file.href, self._links):
                    valid &= file.mask.read_masks(1, window=self._shifted(window)) > 0
            parts.append(part)
        pixels = np.concatenate(parts) if len(parts) > 1 else parts[0]
        if np.issubdtype(pixels.dtype, np.floating):
            strange = ~(np.abs(pixels) < UNMEASURED)  # NaN too
            if (strange & (pixels != self.nodata)).any() and not (self.nodata is not None and math.isnan(self.nodata)):
                raise BadData(
                    f"{public(self._files[0].href)} holds NaN, infinity or numbers beyond {UNMEASURED:.0e}, and "
                    f"{'nothing' if self.nodata is None else f'{self.nodata:g}'} is said to be no data; set "
                    "params.scenes.nodata: nan if those pixels have none; a number that the file states is none either "
                    "then."
                )
            valid &= ~strange.any(axis=0)
        if self.nodata is not None and not math.isnan(self.nodata):
            valid &= ~without_data(pixels, self.nodata)
        bits = np.where(valid, 0, MaskBit.NODATA).astype(np.uint8)
        if self._classes is not None:
            classes = self._pixels(self._classes, window)[0]
            bits[valid & self._is_any(classes, self._cloud_mask.cloud)] |= np.uint8(MaskBit.CLOUD)
            bits[valid & self._is_any(classes, self._cloud_mask.shadow)] |= np.uint8(MaskBit.SHADOW)
        return pixels, bits

    def _is_any(self, classes: NDArray[Any], wanted: tuple[int, ...]) -> NDArray[np.bool_]:
        if not self._cloud_mask.bits:
            return np.isin(classes, wanted)
        found: NDArray[np.bool_] = (classes.astype(np.int64) & sum(1 << bit for bit in wanted)) != 0
        return found

    def _pixels(self, file: _File, window: Window) -> NDArray[Any]:
        with explained(file.href, self._links):
            pixels: NDArray[Any] = file.dataset.read(file.indexes, window=self._shifted(window))
        return pixels

    def _shifted(self, window: Window) -> Window:
        column, row = self._window.col_off + window.col_off, self._window.row_off + window.row_off
        return Window(column, row, window.width, window.height)


@contextmanager
def bands_of(candidate: Candidate, scenes: Scenes, area: Bounds | None) -> Iterator[Bands]:
    """The bands of ``candidate`` in the order of ``scenes.bands``, on the grid of the finest, within ``area``.

    Coarser bands are resampled bilinearly, the classes of the cloud mask by nearest neighbour. Raises ``BadData`` if
    the files do not make such a scene, ``SwathError`` if they cannot be reached.
    """
    links = Links.of(scenes.source, scenes.sign)
    with ExitStack() as stack:
        datasets = [stack.enter_context(opened(href, links)) for href in candidate.hrefs]
        for href, dataset in zip(candidate.hrefs, datasets, strict=True):
            _check(public(href), dataset, placed=scenes.unplaced is None)
        finest = min(datasets, key=lambda d: abs(d.transform.a * d.transform.e))
        dtypes = sorted({dtype for d in datasets for dtype in d.dtypes})
        if len(dtypes) > 1 or dtypes[0] not in _DTYPES:
            raise BadData(
                f"{candidate.source} has pixels of type {dtypes}; convert all bands to one of {list(_DTYPES)}."
            )
        if scenes.radiometry.kind == "sentinel2" and dtypes[0] not in ("uint16", "int16", "int32", "uint32"):
            raise BadData(
                f"{candidate.source} has pixels of type {dtypes[0]}, but Sentinel-2 digital numbers are uint16; "
                "use radiometry kind 'declared' for converted data."
            )
        said = sorted({str(d.nodata) for d in datasets if d.nodata is not None})
        if scenes.nodata is None and len(said) > 1:
            raise BadData(
                f"{candidate.source} has bands with different nodata values ({', '.join(said)}); set scenes.nodata if "
                "one of them is right for all, or convert the bands to one."
            )
        if (
            scenes.nodata is not None
            and not scenes.nodata_is_nan
            and said
            and not any(_same(d.nodata, scenes.nodata, dtypes[0]) for d in datasets)
        ):
            raise BadData(
                f"{candidate.source} states that {' and '.join(said)} is no data, and params.scenes.nodata says "
                f"{scenes.nodata}; correct the one that is wrong, scenes.nodata or the files (gdal_edit)."
            )
        stated = next((d.nodata for d in datasets if d.nodata is not None), None)
        nodata = scenes.nodata if scenes.nodata is not None else stated
        if nodata is not None and not _holds(dtypes[0], nodata):
            raise BadData(f"{candidate.source} has {dtypes[0]} pixels, which cannot hold the nodata value {nodata}.")
        crs, transform = finest.crs, finest.transform
        if crs is None and area is not None:
            raise BadData(f"{candidate.source} lies nowhere, so it is in no area; ask for none.")
        window = window_of(area, finest, public(candidate.hrefs[datasets.index(finest)]))
        for href, dataset in zip(candidate.hrefs, datasets, strict=True):
            require_bearable(public(href), dataset, window if dataset is finest else Window(0, 0, 1, 1))
        if crs is None:
            assert scenes.unplaced is not None
            crs, transform = place_for(finest, scenes.unplaced)
        chosen = _indexes(candidate.hrefs, datasets, scenes.bands)
        files = []
        for href, dataset, indexes in zip(candidate.hrefs, datasets, chosen, strict=True):
            stands = scenes.nodata_is_nan and dataset.nodata is not None and math.isfinite(dataset.nodata)
            number = dataset.nodata if stands else None
            own = nodata if number is None else number
            fitted = stack.enter_context(_on_grid(href, links, dataset, finest, Resampling.bilinear, own))
            mask = stack.enter_context(_mask_on_grid(href, links, dataset, finest))
            files.append(_File(href, fitted, indexes, mask, number))
        classes = None
        if candidate.mask is not None:
            dataset = stack.enter_context(opened(candidate.mask, links))
            _check(public(candidate.mask), dataset, placed=finest.crs is not None)
            require_bearable(public(candidate.mask), dataset, Window(0, 0, 1, 1))
            if dataset.count < (scenes.cloud_mask.band or 1) or (dataset.count > 1 and not scenes.cloud_mask.band):
                raise BadData(
                    f"{public(candidate.mask)} has {dataset.count} bands; say in scenes.cloud_mask.band which of them "
                    "has the classes, from 1."
                )
            classes = _File(
                candidate.mask,
                stack.enter_context(_on_grid(candidate.mask, links, dataset, finest, Resampling.nearest, None)),
                (scenes.cloud_mask.band or 1,),
            )
        yield Bands(
            crs=crs,
            transform=transform @ Affine.translation(window.col_off, window.row_off),
            width=int(window.width),
            height=int(window.height),
            corner=(int(window.col_off), int(window.row_off)),
            dtype=dtypes[0],
            nodata=nodata,
            quantities=_quantities(candidate, datasets, [f.indexes for f in files]),
            _window=window,
            _files=tuple(files),
            _classes=classes,
            _cloud_mask=scenes.cloud_mask,
            _links=links,
        )


def _holds(dtype: str, value: float) -> bool:
    return np.issubdtype(np.dtype(dtype), np.floating) if math.isnan(value) else bool(in_dtype_range(value, dtype))


def _same(stated: float | None, value: float, dtype: str) -> bool:
    """Whether the two are one number in the pixels' type, in which GDAL tells what a file states."""
    if stated is None or math.isnan(value) or math.isnan(stated):
        return stated is not None and math.isnan(value) and math.isnan(stated)
    return _holds(dtype, value) and bool(np.dtype(dtype).type(stated) == np.dtype(dtype).type(value))


def _check(href: str, dataset: Any, placed: bool) -> None:
    transform = dataset.transform
    if not placed and dataset.crs is None:
        return
    if dataset.crs is None:
        raise BadData(
            f"{href} has no coordinate reference system; georeference it (gdal_edit -a_srs EPSG:...), or "
            "state params.scenes.unplaced if where it lies does not matter."
        )
    if not np.isfinite(transform).all():
        raise BadData(f"{href} has a transform that is no number ({tuple(transform)[:6]}); georeference it anew.")
    if transform.is_identity:
        raise BadData(f"{href} is not georeferenced: it has no transform; write one with gdal_edit or rio.")
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise BadData(f"{href} is rotated or not north up (transform {tuple(transform)[:6]}); warp it with gdalwarp.")


def _indexes(hrefs: tuple[str, ...], datasets: list[Any], names: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Which bands of each file: the only one of several files, else by description, case aside, else by position.

    Positions count only where a file knows none of the names: where it knows some, they may be in another order.
    """
    if len(datasets) > 1:
        for href, dataset in zip(hrefs, datasets, strict=True):
            if dataset.count != 1:
                raise BadData(
                    f"{public(href)} has {dataset.count} bands; an asset that makes one band must have one. Name "
                    "another in params.scenes.assets, or none if one file has all bands."
                )
        return [(1,)] * len(datasets)
    described = {d: i for i, d in enumerate(datasets[0].descriptions, 1) if d}
    known = {d.casefold(): i for d, i in described.items()}
    absent = [name for name in names if name.casefold() not in known]
    if not absent:
        return [tuple(known[name.casefold()] for name in names)]
    if len(absent) < len(names):
        raise BadData(
            f"{public(hrefs[0])} has bands named {list(described)}, and {', '.join(absent)} of params.scenes.bands is "
            "none of them; correct params.scenes.bands, or the names in the file."
        )
    uses = zip(datasets[0].indexes, datasets[0].colorinterp, strict=True)
    visible = tuple(i for i, use in uses if use != ColorInterp.alpha)
    if len(visible) != len(names):
        raise BadData(
            f"{public(hrefs[0])} has {len(visible)} bands named {list(described)}, but params.scenes.bands names "
            f"{len(names)}: {list(names)}. Name the bands of the file, or correct params.scenes.bands."
        )
    return [visible]


@contextmanager
def _on_grid(
    href: str, links: Links, dataset: Any, grid: Any, resampling: Resampling, nodata: float | None
) -> Iterator[Any]:
    if dataset.crs != grid.crs:
        raise BadData(f"{public(href)} is in {dataset.crs}, other bands of the scene in {grid.crs}; warp them to one.")
    if (dataset.transform, dataset.shape) == (grid.transform, grid.shape):
        yield dataset
        return
    slack = grid.transform.a / 2
    own, whole = dataset.bounds, grid.bounds
    if own[0] > whole[0] + slack or own[1] > whole[1] + slack or own[2] < whole[2] - slack or own[3] < whole[3] - slack:
        raise BadData(
            f"{public(href)} covers {tuple(own)}, less than the {tuple(whole)} of the scene's finest "
            "band; warp it to that."
        )
    with explained(href, links):
        warped = WarpedVRT(dataset, **_grid(grid), resampling=resampling, src_nodata=nodata, nodata=nodata)
    with warped:
        yield warped


@contextmanager
def _mask_on_grid(href: str, links: Links, dataset: Any, grid: Any) -> Iterator[Any]:
    """What has the mask that lies in a file, on the grid of the scene; ``None`` where it has none."""
    if MaskFlags.per_dataset not in dataset.mask_flag_enums[0]:
        yield None
        return
    if (dataset.transform, dataset.shape) == (grid.transform, grid.shape):
        yield dataset
        return
    with explained(href, links):  # a warped file has its mask only as alpha, and alpha only without a nodata value
        warped = WarpedVRT(dataset, **_grid(grid), resampling=Resampling.nearest, add_alpha=True)
    with warped:
        yield warped


def _grid(grid: Any) -> dict[str, Any]:
    return {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}


def _quantities(
    candidate: Candidate, datasets: list[Any], indexes: list[tuple[int, ...]]
) -> tuple[Quantity | None, ...]:
    """What the catalog says of each band, else what the file itself does."""
    stated = candidate.quantities or (None,) * len(datasets)
    found = []
    for quantity, dataset, numbers in zip(stated, datasets, indexes, strict=True):
        for number in numbers:
            scale, offset = dataset.scales[number - 1], dataset.offsets[number - 1]
            own = Quantity(scale=scale, offset=offset) if (scale, offset) != (1.0, 0.0) else None
            found.append(quantity or own)
    return tuple(found)
