"""A map made again from what it says it was made from, beside the first and never over it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict

from pipelines.audit.compare import Comparison, compared
from pipelines.audit.model import models_of
from pipelines.audit.record import Record, find
from pipelines.audit.source import raster_of
from pipelines.bundle.session import Precision
from pipelines.bundle.store import Bundle
from pipelines.config.params import Also
from pipelines.errors import BadData
from pipelines.files import sha256
from pipelines.inference.ensemble import Ensemble
from pipelines.inference.item import ITEM
from pipelines.inference.layers import PROBABILITIES
from pipelines.inference.mosaic import mosaic
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.provenance import Joining, Prediction, Provenance
from pipelines.inference.runtime import Runtime


class Replay(BaseModel):
    """What came of it. ``changes`` are sentences: what was different from the first time, for which a difference is to
    be expected."""

    model_config = ConfigDict(frozen=True)

    id: str
    agrees: bool  # all files of the map that are here have the same bytes, and the others those that their item lists
    verdict: str  # one sentence
    files: tuple[Comparison, ...]
    changes: tuple[str, ...]


def replay(path: Path, scratch: Path, image: Path | None = None, max_memory: int | None = None) -> Replay:
    """Make the map of ``path`` again, into a folder of its name below ``scratch``, and compare.

    ``image`` says where the mapped file is now, ``max_memory`` (bytes) is by default that of the first time. Raises
    ``BadData`` where the model's bundle or the image is gone or is not what it was.
    """
    record = find(path)
    if not record.item:
        raise BadData(f"{path} has no {ITEM} beside it, which says how the map was made; copy it there too.")
    target = scratch / record.id
    if target.resolve() == record.folder.resolve():
        raise BadData(f"{target} is the map itself; choose another folder to make it in again.")
    if target.exists():
        raise BadData(f"{target} exists already; choose a folder in which there is none.")
    first = (Joining if record.mosaic else Prediction).read(record.properties)
    if first is None:
        raise BadData(f"{record.folder / ITEM} does not say how the map was made; map its image again.")
    if isinstance(first, Joining):
        _join(record, first, target)
    else:
        _predict(record, first, target, image, max_memory)
    second = type(first).read(find(target).properties)
    assert second is not None
    changes = differences(first, second)
    files = compared(record, target)
    agrees = not _wrong(files)
    return Replay(id=record.id, agrees=agrees, verdict=_verdict(files, changes), files=files, changes=changes)


def differences(first: Provenance, second: Provenance) -> tuple[str, ...]:
    """Sentences: how the circumstances of two makings differ, of those that the bytes may depend on."""
    then, now = first.model_dump(exclude={"run", "code", "software", "max_memory"}), second.model_dump()
    changed = [f"The {name} was {then[name]} and is {now[name]}." for name in sorted(then) if then[name] != now[name]]
    for name in sorted(set(first.software) | set(second.software)):
        versions = first.software.get(name, "not there"), second.software.get(name, "not there")
        if versions[0] != versions[1]:
            changed.append(f"{name} was {versions[0]} and is {versions[1]}.")
    if first.code != second.code:
        changed.append(f"swath's code was {_code(first)} and is {_code(second)}.")
    elif first.code.edited:
        changed.append("swath's code had edits that are in no commit, then and now; they may differ.")
    if isinstance(second, Prediction) and "torch" in second.engine:
        changed.append("A GPU may add up in another order each time.")
    return tuple(changed)


def _predict(record: Record, first: Prediction, target: Path, image: Path | None, max_memory: int | None) -> None:
    bundles = [model.open() for model in models_of(record)]
    raster = raster_of(record, bundles[0].contract, first, image)
    tiling = Tiling(first.window, first.overlap, first.batch, max_memory or first.max_memory)
    runtime = _runtime(bundles, [_precision(engine) for engine in first.engine.split("+")])
    simplify = float(record.properties["swath:simplified"])
    predict(raster, bundles[0], runtime, target, tiling, also=_also(record), simplify=simplify)


def _join(record: Record, first: Joining, target: Path) -> None:
    maps = []
    for link in record.images:
        path = Path(link.href).parent / PROBABILITIES
        if not path.is_file():
            raise BadData(f"{path}, which went into the mosaic, is gone; replay or restore {link.title}.")
        if f"1220{sha256(path)}" != link.pin:
            raise BadData(f"{path} is not the file that went into the mosaic; replay or restore {link.title}.")
        maps.append(path.parent)
    mosaic(maps, target, first.crs, first.resolution, _also(record), float(record.properties["swath:simplified"]))


def _runtime(bundles: list[Bundle], precisions: list[Precision | None]) -> Runtime | Ensemble:
    if len(bundles) > 1:
        return Ensemble(bundles, precisions)
    return Runtime(bundles[0], precision=precisions[0])


def _precision(engine: str) -> Precision | None:
    words: tuple[Precision, ...] = get_args(Precision)
    return next((word for word in words if engine == f"openvino {word}"), None)


def _also(record: Record) -> list[Also]:
    made = {Path(name).stem if name != "classes.parquet" else "polygons" for name in record.files}
    words: tuple[Also, ...] = get_args(Also)
    return [word for word in words if word in made]


def _code(made: Provenance) -> str:
    edits = " with edits" if made.code.edited else ""
    return f"{made.code.version} at {(made.code.commit or 'no known commit')[:12]}{edits}"


def _wrong(files: tuple[Comparison, ...]) -> list[Comparison]:
    return [one for one in files if not (one.verdict == "same" or (one.verdict == "not here" and one.as_made))]


def _verdict(files: tuple[Comparison, ...], changes: tuple[str, ...]) -> str:
    wrong = _wrong(files)
    if not wrong:
        return "All files have the same bytes."
    names = ", ".join(one.file for one in wrong)
    if all(one.as_made for one in wrong):
        return (
            f"The map can be made again to the byte, and what lies here is not what was made: {names} "
            "was changed since."
        )
    if changes:
        return f"{names} came out otherwise, as may be expected: {' '.join(changes)}"
    return f"{names} came out otherwise, though model, image, code, software and processor are the same."
