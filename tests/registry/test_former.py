"""Which version a rollback without a number returns to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.errors import BadData
from pipelines.registry import aliases
from pipelines.registry.rollback import _latest_former


def version(number: str, promoted: str, restored: str = "", withdrawn: str = "") -> Any:
    tags = {aliases.PROMOTED: promoted, aliases.RESTORED: restored, aliases.WITHDRAWN: withdrawn}
    return SimpleNamespace(version=number, tags={name: value for name, value in tags.items() if value})


def former(monkeypatch: pytest.MonkeyPatch, current: str, *versions: Any) -> str:
    monkeypatch.setattr(aliases, "versions", lambda client, name: versions)
    return str(_latest_former(None, "p", next(v for v in versions if v.version == current)).version)  # type: ignore[arg-type]


def test_it_is_the_one_that_was_in_charge_last_not_the_one_with_the_highest_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = version("1", "2026-01-01T00:00:00+00:00", restored="2026-04-01T00:00:00+00:00")
    second = version("2", "2026-02-01T00:00:00+00:00")
    third = version("3", "2026-03-01T00:00:00+00:00", withdrawn="it drew roads as rivers")
    fourth = version("4", "2026-05-01T00:00:00+00:00")
    refused = version("5", "")
    assert former(monkeypatch, "4", refused, fourth, third, second, first) == "1"
    assert former(monkeypatch, "1", fourth, third, second, first) == "4"
    with pytest.raises(BadData, match="no former champion"):
        former(monkeypatch, "3", refused, third)
