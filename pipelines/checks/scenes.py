"""What must hold of a fetched scene before it enters the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from pipelines.checks.runner import UNDATED, run
from pipelines.config.params import Scenes
from pipelines.errors import BadData

_STATISTICS = ("minimum", "p01", "mean", "p99", "maximum", "std")


def failures(
    rows: Sequence[dict[str, Any]], scenes: Scenes, docs: Path | None = None, when: datetime = UNDATED
) -> dict[str, str]:
    """The ids of the scenes that must not enter the catalog, each with its reasons in words.

    ``rows`` are the dumps of scenes with ``statistics`` by band, in physical units. With ``docs``, Data Docs are
    written there. Raises ``BadData`` if the checks themselves cannot be applied.
    """
    if not rows:
        return {}
    found: dict[str, list[str]] = {}
    for finding in run("scenes", table(rows, scenes.image_bands), expectations(scenes), docs, when):
        if finding.row is None:
            raise BadData(f"The scenes cannot be checked: {finding.sentence} This is a fault of the checks.")
        found.setdefault(str(finding.row), []).append(finding.sentence)
    return {id: " ".join(sentences) for id, sentences in found.items()}


def table(rows: Sequence[dict[str, Any]], bands: Sequence[str]) -> pd.DataFrame:
    """One row a scene, by id: its metadata, and ``<band>_<statistic>`` for each band."""
    records = []
    for row in rows:
        record = {k: row[k] for k in ("id", "datetime", "crs", "dtype", "width", "height", "resolution")}
        record |= {k: float(row[k]) for k in ("nodata_share", "cloud_share")}
        record["bands"] = " ".join(band["name"] for band in row["bands"])
        record["radiometry"] = row["radiometry"]
        record |= dict(zip(("west", "south", "east", "north"), row["bbox"], strict=True))
        for band in bands:
            record |= {f"{band}_{s}": row["statistics"].get(band, {}).get(s) for s in _STATISTICS}
        records.append(record)
    frame = pd.DataFrame.from_records(records).set_index("id", drop=False)
    numbers = [f"{band}_{s}" for band in bands for s in _STATISTICS]
    frame[numbers] = frame[numbers].astype(float)
    return frame


def expectations(scenes: Scenes) -> list[Expectation]:
    """In the order in which their findings are told."""
    e, checks, (lowest, highest) = gx.expectations, scenes.checks, scenes.checks.value_range
    bands = " ".join(scenes.image_bands)
    wanted: list[Expectation] = [
        e.ExpectColumnValuesToBeUnique(column="id", description="each scene has an id of its own"),
        e.ExpectColumnValuesToBeInSet(column="bands", value_set=[bands], description=f"the bands are {bands}"),
        e.ExpectColumnValuesToNotBeNull(column="crs", description="a scene has a coordinate reference system"),
        e.ExpectColumnValuesToBeBetween(
            column="resolution", min_value=0, strict_min=True, description="the ground resolution is above 0 m"
        ),
        e.ExpectColumnValuesToBeBetween(
            column="nodata_share",
            min_value=0,
            max_value=checks.max_nodata,
            description=f"at most {checks.max_nodata} of the pixels may lack data (params.scenes.checks.max_nodata)",
        ),
    ]
    for column, low, high in (("west", -180, 180), ("east", -180, 180), ("south", -90, 90), ("north", -90, 90)):
        rule = f"{column} lies between {low} and {high} degrees"
        wanted.append(e.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, description=rule))
    rule = f"1st and 99th percentile lie between {lowest} and {highest} (params.scenes.checks.value_range)"
    for band in scenes.image_bands:
        for statistic in ("p01", "p99"):
            column = f"{band}_{statistic}"
            wanted += [
                e.ExpectColumnValuesToNotBeNull(column=column, description="every band has statistics"),
                e.ExpectColumnValuesToBeBetween(column=column, min_value=lowest, max_value=highest, description=rule),
            ]
        dead = "a band with one value everywhere is a dead band: correct it, or leave it out of params.scenes.bands"
        wanted.append(
            e.ExpectColumnValuesToBeBetween(column=f"{band}_std", min_value=0, strict_min=True, description=dead)
        )
    return wanted
