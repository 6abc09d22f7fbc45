"""What must hold of a table of chips before anything is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from pipelines.checks.runner import Finding, run
from pipelines.files import write_json

_SPLITS = ["train", "val", "test"]
_SHOWN = 10


def check_chips(
    index: pd.DataFrame,
    certificate: dict[str, object],
    *,
    splits: Sequence[str],
    min_valid: float,
    value_range: tuple[float, float] | None,
    folder: Path,
) -> list[str]:
    """Check the chip index and the certificate; write ``result.json`` and ``docs/`` to ``folder``.

    ``splits`` are those that must be there. ``value_range`` bounds the mean of every band, in physical units. Returns
    the findings as sentences: empty if all holds. Equal input gives equal bytes.
    """
    table = index.set_index("chip_id", drop=False)
    if not table.index.is_unique:
        table = table.reset_index(drop=True)
    table["place"] = table["shard"].astype(str) + ":" + table["position"].astype(str)
    shared = table.dropna(subset="content").groupby("content")["split"].nunique()
    table["splits_with_these_pixels"] = table["content"].map(shared).fillna(1).astype(int)
    chips = run("chips", table, chip_expectations(table, splits, min_valid, value_range), folder / "docs" / "chips")
    sheet = pd.DataFrame([{k: certificate[k] for k in ("clean", "overlap_m2", "smallest_distance_m", "buffer_m")}])
    pixels = table.loc[table["split"] == "train", [c for c in table.columns if c.startswith("pixels_")]].sum()
    sheet["train_classes"] = int((pixels > 0).sum())
    leaks = run("certificate", sheet, certificate_expectations(), folder / "docs" / "certificate")
    findings = _sentences(leaks) + _sentences(chips)
    write_json(
        folder / "result.json",
        {"success": not findings, "chips": len(table), "findings": findings, "expectations": "docs/chips/index.html"},
    )
    return findings


def chip_expectations(
    table: pd.DataFrame, splits: Sequence[str], min_valid: float, value_range: tuple[float, float] | None
) -> list[Expectation]:
    """Expectations on the index, with the sentence that is shown where one fails."""
    rules: list[Expectation] = [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, description="there must be at least one chip"),
        gxe.ExpectColumnValuesToBeUnique(column="chip_id", description="each chip has a name of its own"),
        gxe.ExpectColumnValuesToBeUnique(column="place", description="each chip has a place of its own in the shards"),
        gxe.ExpectColumnValuesToBeInSet(column="split", value_set=_SPLITS, description="a split is train, val or test"),
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="split", value_set=list(splits), description=f"chips of {', '.join(splits)} must be there"
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="valid",
            min_value=min_valid,
            max_value=1.0,
            description=f"the usable, labelled share of a chip lies between chips.min_valid = {min_valid:g} and 1",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="splits_with_these_pixels",
            min_value=1,
            max_value=1,
            description="the pixels of a chip may be in one split only; one of its scenes is a copy",
        ),
    ]
    rules += [
        gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0, description="pixel counts are not negative")
        for column in table.columns
        if column.startswith("pixels_")
    ]
    if value_range is not None:
        low, high = value_range
        for column in (c for c in table.columns if c.startswith("mean_")):
            rules.append(
                gxe.ExpectColumnValuesToBeBetween(
                    column=column,
                    min_value=low,
                    max_value=high,
                    description=f"the mean of a band lies between {low:g} and {high:g} (scenes.checks.value_range)",
                )
            )
            rules.append(gxe.ExpectColumnValuesToNotBeNull(column=column, description="every chip has usable pixels"))
    return rules


def certificate_expectations() -> list[Expectation]:
    """Expectations on one row: the certificate, and how many classes the train chips show."""
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="clean", value_set=[True], description="nothing may leak between splits; see data/certificate.json"
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="overlap_m2", max_value=0, description="chips of different splits share no ground"
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="train_classes",
            min_value=2,
            description="train chips must show two classes or more; compare labels.classes with what the labels hold",
        ),
    ]


def _sentences(findings: list[Finding]) -> list[str]:
    """One line a rule and column: the first few rows that break it, and how many more."""
    lines: dict[tuple[str | None, str], list[Finding]] = {}
    for finding in findings:
        lines.setdefault((finding.column, finding.sentence.split("; ", 1)[-1]), []).append(finding)
    told = []
    for broken in lines.values():
        where = [str(f.row) for f in broken if f.row is not None]
        rows = (
            f" ({len(where)} chips: {', '.join(where[:_SHOWN])}{', ...' if len(where) > _SHOWN else ''})"
            if where
            else ""
        )
        told.append(broken[0].sentence + rows)
    return told
