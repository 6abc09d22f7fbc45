"""Images as a model's contract sees them: scenes of the catalog, and any GeoTIFF. Those that break it are refused."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.warp import transform as reproject
from rasterio.windows import Window

from pipelines.bundle.contract import Contract
from pipelines.config.params import Radiometry
from pipelines.depot import address
from pipelines.errors import BadData
from pipelines.files import sha256
from pipelines.inference.arrays import Array, host, namespace, put
from pipelines.scenes.candidate import baseline_in
from pipelines.scenes.catalog import item_path
from pipelines.scenes.dates import from_file
from pipelines.scenes.radiometry import DARK, settle
from pipelines.scenes.remote import driver_of
from pipelines.scenes.scene import UNMEASURED, Band, MaskBit, Scene, without_data

_NODATA = np.uint8(MaskBit.NODATA)
FINER_OR_COARSER = 1.5  # than the training chips, at most
_PROBES, _PROBE = 5, 64  # places along each axis, and their side in pixels, at which values are checked


@dataclass(frozen=True)
class Raster:
    """An image that fits a contract. ``indexes``, ``scale`` and ``offset`` are in the contract's order of bands."""

    id: str
    image: Path
    mask: Path | None  # COG of MaskBit bits on the same grid; None: what the image itself says of nodata
    indexes: tuple[int, ...]  # GDAL's, from 1
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nodata: float | None  # of a pixel without data, by `without_data`
    crs: str
    transform: tuple[float, ...]
    width: int
    height: int
    when: datetime | None
    sha256: str  # of the image
    source: str  # href for the map's item: the STAC item of a scene, or the file itself
    mask_sha256: str | None = None

    @property
    def affine(self) -> Affine:
        return Affine(*self.transform)

    def open(self, device: str | None = None) -> RasterSource:
        return RasterSource(self, device)


class RasterSource:
    """The pixels of a ``Raster``, by rows. A context manager.

    They are brought to the ``device`` that PyTorch calls so as the file has them, and become physical there; without
    one they stay in main memory.
    """

    def __init__(self, raster: Raster, device: str | None = None) -> None:
        self._raster, self._device = raster, device
        self._alone = threading.Lock()  # a file that is closed under a thread that reads it ends the process
        self._scale = put(np.array(raster.scale, np.float32)[:, None, None], device)
        self._offset = put(np.array(raster.offset, np.float32)[:, None, None], device)
        driver = driver_of(raster.image.name)
        # a GPU leaves processors idle, which can decode meanwhile
        threads = {"NUM_THREADS": "ALL_CPUS"} if device and driver == "GTiff" else {}
        self._image = rasterio.open(raster.image, driver=driver, **threads)
        self._mask = rasterio.open(raster.mask) if raster.mask else None
        dtype = np.dtype(self._image.dtypes[0])
        largest = float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else np.inf
        physical = [largest * abs(s) + abs(o) for s, o in zip(raster.scale, raster.offset, strict=True)]
        self._may_be_unmeasured = not all(value < UNMEASURED for value in physical)  # NaN too
        self._has_own_mask = any(
            MaskFlags.per_dataset in flags or MaskFlags.alpha in flags for flags in self._image.mask_flag_enums
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._alone:
            self._image.close()
            if self._mask:
                self._mask.close()

    @property
    def bands(self) -> int:
        return len(self._raster.indexes)

    @property
    def height(self) -> int:
        return self._raster.height

    @property
    def width(self) -> int:
        return self._raster.width

    @property
    def block_row(self) -> int:
        """Bytes of one row of blocks of image and mask, decoded."""
        rows = self._image.block_shapes[0][0]
        return int(rows * self.width * (self._image.count * np.dtype(self._image.dtypes[0]).itemsize + 1))

    def read(self, rows: slice) -> tuple[Array, NDArray[np.uint8]]:
        """Physical pixels ``(bands, rows, width)`` and mask ``(rows, width)``, for the kernel.

        Raises ``BadData`` for a block that cannot be decoded; it is never replaced by zeros.
        """
        return self.block(Window(0, rows.start, self.width, rows.stop - rows.start))

    def block(self, window: Window) -> tuple[Array, NDArray[np.uint8]]:
        """As ``read``, for any window."""
        with self._alone:
            pixels = _read(self._image, self._raster.indexes, window)
            try:
                mask = self._mask.read(1, window=window) if self._mask else self._own_mask(pixels, window)
            except RasterioError as error:
                raise _unreadable(self._raster.image, window, error) from error
        physical = put(pixels, self._device)
        xp = namespace(physical)
        physical = xp.astype(physical, xp.float32)
        physical *= self._scale
        physical += self._offset
        if self._may_be_unmeasured:
            mask[~host((xp.abs(physical) < UNMEASURED).all(axis=0))] |= _NODATA  # NaN too
        return physical, mask

    def _own_mask(self, pixels: NDArray[Any], window: Window) -> NDArray[np.uint8]:
        # GDAL's own mask of a nodata value would decode every block again.
        missing = np.zeros(pixels.shape[1:], bool)
        if self._raster.nodata is not None:
            missing |= without_data(pixels, self._raster.nodata)
        if self._has_own_mask:
            missing |= self._image.dataset_mask(window=window) == 0
        return np.where(missing, _NODATA, np.uint8(0))


def of_scene(scene: Scene, catalog: Path, contract: Contract) -> Raster:
    """A scene of the catalog as ``contract`` sees it. Raises ``BadData`` where it breaks the contract."""
    raster = in_bands(scene, catalog, contract.band_names)
    _check_units(scene.id, [scene.bands[i - 1].units for i in raster.indexes], contract)
    _check_resolution(scene.id, scene.resolution, contract)
    _check_values(raster, contract)
    return raster


def in_bands(scene: Scene, catalog: Path, bands: Sequence[str]) -> Raster:
    """A scene of the catalog with its bands in the order of ``bands``. Raises ``BadData`` if it lacks one."""
    indexes = _by_name(scene.id, [band.name for band in scene.bands], bands)
    chosen = [scene.bands[i - 1] for i in indexes]
    return Raster(
        id=scene.id,
        image=scene.image_path(catalog),
        mask=scene.mask_path(catalog),
        indexes=indexes,
        scale=tuple(band.scale for band in chosen),
        offset=tuple(band.offset for band in chosen),
        nodata=None,
        crs=scene.crs,
        transform=scene.transform,
        width=scene.width,
        height=scene.height,
        when=scene.datetime,
        sha256=scene.image_sha256,
        mask_sha256=scene.mask_sha256,
        source=address(item_path(Path(catalog).resolve(), scene.id)),
    )


def of_file(path: Path, contract: Contract, name: str | None = None) -> Raster:
    """Any GeoTIFF as ``contract`` sees it; ``name`` is that of the file, where it has another now.

    Bands are found by their descriptions, or taken in order where there are none. Scale, offset and nodata are the
    file's own; where it states none, whole numbers are read by the contract's and floats are physical already. Whether
    Sentinel-2 numbers hold the offset of baseline 04.00 is settled from the file's name and pixels, as at ingestion.
    Raises ``BadData`` where it breaks the contract.
    """
    try:
        image = rasterio.open(path, driver=driver_of(path.name))
    except RasterioError as error:
        raise BadData(f"{path} cannot be opened as a raster ({error}); give a GeoTIFF.") from error
    with image:
        if image.crs is None or image.transform == Affine.identity():
            raise BadData(f"{path} does not say where on the ground it lies; give it a CRS and a transform.")
        indexes = _indexes(path, image, contract)
        _check_units(path.name, [image.units[i - 1] for i in indexes], contract)
        _check_resolution(path.name, ground_resolution(image), contract)
        nodata = image.nodata
        if nodata is None and all(MaskFlags.all_valid in flags for flags in image.mask_flag_enums):
            nodata = None if contract.nodata == "nan" else contract.nodata
        tagged = [(image.scales[i - 1], image.offsets[i - 1]) for i in indexes]
        if all(pair == (1.0, 0.0) for pair in tagged) and _whole(image.dtypes[0]) == _whole(contract.dtype):
            _check_depth(path.name, image.dtypes[0], contract)
            bands = _settled(image, name or path.name, indexes, nodata, contract)
            tagged = [(band.scale, band.offset) for band in bands]
        raster = Raster(
            id=Path(name or path.name).stem,
            image=path,
            mask=None,
            indexes=indexes,
            scale=tuple(scale for scale, _ in tagged),
            offset=tuple(offset for _, offset in tagged),
            nodata=nodata,
            crs=image.crs.to_string(),
            transform=tuple(image.transform)[:6],
            width=image.width,
            height=image.height,
            when=from_file(image.tags().get("TIFFTAG_DATETIME"), name or path.name),
            sha256=sha256(path),
            source=path.resolve().as_posix(),
        )
    _check_values(raster, contract)
    return raster


def _settled(
    image: rasterio.DatasetReader, name: str, indexes: tuple[int, ...], nodata: float | None, contract: Contract
) -> tuple[Band, ...]:
    """The contract's bands with scale and offset for an image that states none."""
    if contract.radiometry == "declared":
        return contract.bands
    parts = [_read(image, indexes, window) for window in _probes(image.width, image.height)]
    pixels = np.concatenate([part.reshape(len(indexes), -1) for part in parts], axis=1)
    if nodata is not None:
        pixels = pixels[:, ~without_data(pixels, nodata)]
    if not pixels.size:
        return contract.bands  # nothing is mapped
    try:
        told = Radiometry(kind="sentinel2", units=contract.bands[0].units)
        dark = np.percentile(pixels, DARK, axis=1)
        return settle(told, contract.band_names, dark.tolist(), baseline=baseline_in(name))[0]
    except BadData as error:
        raise BadData(f"{image.name} states no scale and offset. {error}") from None


def ground_resolution(image: rasterio.DatasetReader) -> float:
    """Metres on the ground of a pixel at the centre, the mean of both axes, on the WGS 84 ellipsoid."""
    column, row = image.width / 2, image.height / 2
    corners = [image.transform @ place for place in ((column, row), (column + 1, row), (column, row + 1))]
    try:
        east, north = reproject(image.crs, CRS.from_epsg(4326), *zip(*corners, strict=True))
    except Exception as error:  # GDAL's own classes are private to rasterio
        raise BadData(f"{image.name} is in a CRS that cannot be placed on Earth ({error}); correct it.") from error
    geod = Geod(ellps="WGS84")
    sides = [geod.inv(east[0], north[0], east[i], north[i])[2] for i in (1, 2)]
    if not np.isfinite(sides).all():
        raise BadData(f"{image.name} has coordinates that its CRS does not know; correct its CRS.")
    return float(sum(sides) / 2)


def _indexes(path: Path, image: rasterio.DatasetReader, contract: Contract) -> tuple[int, ...]:
    visible = [i for i, use in zip(image.indexes, image.colorinterp, strict=True) if use != ColorInterp.alpha]
    names = [image.descriptions[i - 1] for i in visible]
    if any(names):
        return tuple(visible[i - 1] for i in _by_name(path.name, [name or "" for name in names], contract.band_names))
    if len(visible) != len(contract.bands):
        raise BadData(
            f"{path} has {len(visible)} bands without names, but the model takes {len(contract.bands)}: "
            f"{', '.join(contract.band_names)}. Give these, in this order, or name the file's bands."
        )
    return tuple(visible)


def _by_name(what: str, names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise BadData(
            f"{what} has the bands {', '.join(names)}, but the model also takes {', '.join(missing)}; "
            f"give an image with {', '.join(wanted)}."
        )
    return tuple(names.index(name) + 1 for name in wanted)


def _check_units(what: str, units: list[str | None], contract: Contract) -> None:
    for unit, band in zip(units, contract.bands, strict=True):
        if unit and unit != band.units:
            raise BadData(f"Band {band.name} of {what} is in {unit}, but the model was trained on {band.units}.")


def _check_depth(what: str, dtype: str, contract: Contract) -> None:
    """Numbers that state no scale mean what the contract's do only where both are bytes, or neither is."""
    if (np.dtype(dtype).itemsize == 1) != (np.dtype(contract.dtype).itemsize == 1):
        raise BadData(
            f"{what} has pixels of type {dtype} and states no scale, but the model was trained on {contract.dtype} "
            f"({contract.bands[0].units}), whose numbers mean something else; give the image that the model takes, or "
            "set the scale and offset of the file."
        )


def _check_resolution(what: str, resolution: float, contract: Contract) -> None:
    finest, coarsest = contract.resolution
    if not finest / FINER_OR_COARSER <= resolution <= coarsest * FINER_OR_COARSER:
        raise BadData(
            f"{what} has pixels of {resolution:.3g} m, but the model was trained on {finest:.3g} to {coarsest:.3g} m "
            f"and holds for {FINER_OR_COARSER} times finer or coarser; resample the image."
        )


def _check_values(raster: Raster, contract: Contract) -> None:
    """Refuse values of another kind than the training's, such as digital numbers instead of reflectance.

    Probes a grid of places. A band whose median lies further outside the training range than three times its width is
    of another kind; so is an image whose values are all a thousand times smaller.
    """
    with raster.open() as source:
        windows = _probes(raster.width, raster.height)
        parts = [pixels[:, mask == 0] for pixels, mask in map(source.block, windows)]
    pixels = np.concatenate(parts, axis=1)
    if pixels.shape[1] == 0:
        return
    medians = np.median(pixels, axis=1)
    faint = True
    for value, largest, band in zip(medians, np.abs(pixels).max(axis=1), contract.statistics.bands, strict=True):
        span = band.maximum - band.minimum
        if not band.minimum - 3 * span <= value <= band.maximum + 3 * span:
            raise BadData(
                f"Band {band.name} of {raster.id} is around {value:.4g}, but training saw {band.minimum:.4g} to "
                f"{band.maximum:.4g} {band.units}; set the scale and offset of the file, or convert it."
            )
        faint &= bool(largest * 1000 < max(abs(band.p99), abs(band.p01)))
    if faint:
        raise BadData(
            f"The values of {raster.id} are over a thousand times smaller than those of training "
            f"({contract.bands[0].units}); set the scale and offset of the file, or convert it."
        )


def _probes(width: int, height: int) -> list[Window]:
    def starts(length: int) -> list[int]:
        return sorted({int(s) for s in np.linspace(0, max(length - _PROBE, 0), _PROBES)})

    return [
        Window(left, top, min(_PROBE, width), min(_PROBE, height)) for top in starts(height) for left in starts(width)
    ]


def _whole(dtype: str) -> bool:
    return np.issubdtype(np.dtype(dtype), np.integer)


def _read(image: rasterio.DatasetReader, indexes: tuple[int, ...], window: Window) -> NDArray[Any]:
    try:
        pixels: NDArray[Any] = image.read(indexes, window=window)
    except RasterioError as error:
        raise _unreadable(image.name, window, error) from error
    return pixels


def _unreadable(image: Path | str, window: Window, error: RasterioError) -> BadData:
    rows = f"rows {window.row_off} to {window.row_off + window.height}"
    return BadData(f"{image} cannot be read at {rows} ({error}); fetch it again.")
