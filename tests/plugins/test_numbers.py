from __future__ import annotations

import pytest

from plugins.numbers import number


@pytest.mark.parametrize(
    ("told", "taken"), [("7.5", 7.5), ("", 20), ("20s", 20), ("nan", 20), ("inf", 20), ("0", 20), ("-3", 20)]
)
def test_a_mistyped_number_is_no_reason_for_all_dags_to_vanish(
    told: str, taken: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_SOMETHING", told)
    assert number("SWATH_SOMETHING", 20, least=1) == taken
