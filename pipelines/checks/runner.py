"""A table and its expectations in; findings and Data Docs out."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import Expectation

from pipelines.checks.docs import settle
from pipelines.files import replacing

UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Finding:
    """One expectation that does not hold: ``row`` is the index label in the table, None for the table as a whole."""

    row: Hashable | None
    column: str | None
    sentence: str


def run(
    name: str, table: pd.DataFrame, expectations: Sequence[Expectation], docs: Path | None, when: datetime = UNDATED
) -> list[Finding]:
    """Check ``table`` and write its Data Docs to the folder ``docs``, replacing what was there; None writes none.

    ``table`` has one row a thing and a unique index; ``name`` heads the page; ``when`` is the time that it shows. Equal
    arguments give equal bytes in ``docs``. Findings come in the order of the expectations, then of the rows; an
    expectation that could not be evaluated (a column is missing, types do not compare) is a finding with row None.
    """
    if docs is None:
        return _findings(_validated(_context(), name, table, expectations, when))
    with replacing(docs) as draft:
        draft.mkdir()
        context = _context()
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(draft)}
        index = {"class_name": "DefaultSiteIndexBuilder"}
        site = {"class_name": "SiteBuilder", "store_backend": backend, "site_index_builder": index}
        context.variables.data_docs_sites = {name: site | {"show_how_to_buttons": False}}
        results = _validated(context, name, table, expectations, when)
        context.build_data_docs()
        settle(draft, name, when, sum(result.success for result in results), len(results))
    return _findings(results)


def _context() -> Any:
    """A context in memory; without the folder for Data Docs that an ephemeral one would leave behind in /tmp."""
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    bars = ProgressBarsConfig(globally=False)
    return gx.get_context(DataContextConfig(store_backend_defaults=stores, progress_bars=bars), mode="ephemeral")


def _validated(
    context: Any, name: str, table: pd.DataFrame, expectations: Sequence[Expectation], when: datetime
) -> list[Any]:
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    fresh = [copy.copy(e) for e in expectations]  # an expectation belongs to the first suite that it is put in
    suite = context.suites.add(gx.ExpectationSuite(name, expectations=fresh))
    batch = asset.add_batch_definition_whole_dataframe(name)
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    outcome = definition.run(
        batch_parameters={"dataframe": table.rename_axis(index=None)},  # a named index changes the shape of results
        result_format={"result_format": "COMPLETE"},
        run_id=RunIdentifier(run_name=name, run_time=when),
    )
    position = {e.id: i for i, e in enumerate(suite.expectations)}
    return sorted(outcome.results, key=lambda r: position[r.expectation_config.id])


def _findings(results: list[Any]) -> list[Finding]:
    return [finding for result in results if not result.success for finding in _broken(result)]


def _broken(result: Any) -> list[Finding]:
    config = result.expectation_config
    column = config.kwargs.get("column")
    rule = config.description or _in_words(config)
    if rows := result.result.get("unexpected_index_list"):
        values = result.result["unexpected_list"]
        return [
            Finding(row, column, f"{column or 'row'} is {_short(value)}; {rule}.")
            for row, value in zip(rows, values, strict=True)
        ]
    if "observed_value" in result.result:
        return [
            Finding(None, column, f"{column or 'the table'} gives {_short(result.result['observed_value'])}; {rule}.")
        ]
    return [Finding(None, column, f"{column or 'the table'} could not be checked, or is missing; {rule}.")]


def _in_words(config: Any) -> str:
    limits = {k: v for k, v in config.kwargs.items() if k not in ("column", "batch_id") and v is not None}
    return " ".join([config.type.replace("_", " "), *(f"{k}={v}" for k, v in limits.items())])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:80]
