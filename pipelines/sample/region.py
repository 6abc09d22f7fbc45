"""The region as a whole: makes what is missing in its folder, and knows what is there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.progress import report
from pipelines.sample.acquisition import LABELLED, Acquisition, Place, acquisitions
from pipelines.sample.drift import NONE, Drift
from pipelines.sample.ground import Ground, make_ground
from pipelines.sample.labels import label_table, write_labels
from pipelines.sample.render import render
from pipelines.sample.stac import write_catalog, write_scene

log = logging.getLogger(__name__)

RECORD = "sample.json"  # what a region was ordered as; written last
LARGEST = 10_980  # pixels: a whole tile of Sentinel-2's grid


class Order(BaseModel):
    """What to make. The size and seed make the ground; the rest says how often and how well it is seen."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(1024, ge=64, le=LARGEST)
    seed: int = Field(0, ge=0)
    scenes: int = Field(6, ge=0)
    unlabelled: int = Field(1, ge=0)
    drift: Drift = NONE


def make_region(folder: Path, order: Order) -> dict[str, Any]:
    """Make what ``order`` asks for and ``folder`` lacks: scenes, ``catalog.json``, ``labels.gpkg``, ``sample.json``.

    Scenes that are there stay untouched, so the same order twice is one order, and an order with drift or with more
    scenes adds to the region. Needs memory for about 120 bytes a pixel of one place. Raises ``BadData`` where
    the folder holds another region.
    """
    folder = Path(folder)
    record = _record(folder, order)
    wanted = acquisitions(order.scenes, order.unlabelled, order.drift)
    known = {id for id in record["scenes"] if (folder / id / f"{id}.json").is_file()}
    missing = [look for look in wanted if look.id not in known]
    labels = folder / "labels.gpkg"
    labelled = labels.is_file() and (folder / RECORD).is_file()  # or they are of an order that was cut off
    whole = labelled and (folder / "catalog.json").is_file()
    if whole and not missing:
        log.info("%s already holds these %d scenes; nothing to do", folder, len(wanted))
        return _result(folder, record, made=0)

    grounds: dict[Place, Ground] = {}
    places = list(dict.fromkeys(look.place for look in missing))
    places += [place for place in LABELLED if not labelled and place not in places]
    done = 0
    for place in places:
        ground = make_ground(order.seed, place.name, order.size)
        if place in LABELLED:
            grounds[place] = ground
        for look in (m for m in missing if m.place == place):
            report(done, len(missing), f"scene {look.id}")
            record["scenes"][look.id] = _make_scene(folder, order.seed, ground, look)
            done += 1
    if not labelled:
        write_labels(labels, label_table({place: grounds[place] for place in LABELLED}))
    write_catalog(folder, list(record["scenes"]))
    write_json(folder / RECORD, record)
    return _result(folder, record, made=len(missing))


def _make_scene(folder: Path, seed: int, ground: Ground, look: Acquisition) -> dict[str, Any]:
    picture = render(seed, ground, look)
    write_scene(folder, look, picture)
    log.info("made %s: %.0f%% cloud, %.0f%% nodata", look.id, picture.cloud_cover, 100 * picture.nodata_share)
    return {
        "place": look.place.name,
        "labelled": look.place in LABELLED,
        "datetime": look.datetime.isoformat(),
        "baseline": look.baseline,
        "drift": str(look.drift) if look.drift.strength else None,
        "cloud_cover": round(picture.cloud_cover, 4),
        "nodata_share": round(picture.nodata_share, 6),
    }


def _record(folder: Path, order: Order) -> dict[str, Any]:
    """What ``sample.json`` says of the region so far."""
    if not (folder / RECORD).is_file():
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            _check_is_unfinished(folder)
        return {"size": order.size, "seed": order.seed, "scenes": {}}
    record: dict[str, Any] = read_json(folder / RECORD)
    for name in ("size", "seed"):
        if record[name] != getattr(order, name):
            raise BadData(
                f"{folder} holds a sample region of {name} {record[name]}, not {getattr(order, name)}; "
                "give another --out, or delete that folder first."
            )
    return record


def _check_is_unfinished(folder: Path) -> None:
    """Nothing but what an interrupted run leaves behind may be written over."""
    for entry in folder.iterdir():
        if not (entry.name.startswith((".", "S2")) or entry.name in ("catalog.json", "labels.gpkg")):
            raise BadData(f"{folder} has {entry.name} in it and no sample.json; give an empty folder as --out.")


def _result(folder: Path, record: dict[str, Any], made: int) -> dict[str, Any]:
    return {
        "out": str(folder),
        "catalog": str(folder / "catalog.json"),
        "labels": str(folder / "labels.gpkg"),
        "scenes": len(record["scenes"]),
        "made": made,
    }
