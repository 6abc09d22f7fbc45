"""Offsets are settled by metadata and held against the pixels; contradictions are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.params import Radiometry
from pipelines.errors import BadData
from pipelines.scenes.candidate import Quantity
from pipelines.scenes.radiometry import settle

SENTINEL2 = Radiometry(kind="sentinel2", units="reflectance")
WITH, WITHOUT = (1150.0, 1210.0), (150.0, 210.0)  # dark ends of the same ground with and without the offset
MINUS = Quantity(scale=0.0001, offset=-0.1)
ZERO = Quantity(scale=0.0001, offset=0.0)


@pytest.mark.parametrize(
    ("facts", "dark", "offset"),
    [
        ({"baseline": "05.09"}, WITH, -0.1),
        ({"baseline": "04.00"}, WITH, -0.1),
        ({"baseline": "03.01"}, WITHOUT, 0.0),
        ({"baseline": "02.14", "offset_applied": False}, WITHOUT, 0.0),
        ({"baseline": "05.09", "offset_applied": False}, WITH, -0.1),
        ({"baseline": "05.09", "offset_applied": True}, WITHOUT, 0.0),
        ({"quantities": [MINUS, MINUS]}, WITH, -0.1),
        ({"quantities": [ZERO, ZERO]}, WITHOUT, 0.0),
        # Earth Search states -0.1 for copies without the offset: the flag is right, and the pixels show it
        ({"baseline": "05.09", "offset_applied": True, "quantities": [MINUS, MINUS]}, WITHOUT, 0.0),
        # bright desert: too bright to confirm, and nothing speaks against the metadata
        ({"baseline": "03.01"}, (1800.0, 2500.0), 0.0),
        # paler desert: blue alone is as dark as dark ground with the offset would be
        ({"baseline": "05.09", "offset_applied": True}, (1250.0, 1750.0, 2400.0), 0.0),
    ],
)
def test_offset_by_metadata(facts: dict, dark: tuple[float, ...], offset: float) -> None:
    bands, sentence = settle(SENTINEL2, ["B02", "B03", "B04"][: len(dark)], dark, **facts)
    assert [(b.scale, b.offset) for b in bands] == [(0.0001, offset)] * len(dark)
    assert f"{dark[0]:.0f}" in sentence


def test_bright_pixels_are_not_told_as_proof() -> None:
    bright = (2300.0, 2700.0)
    for facts in ({"baseline": "05.09"}, {"baseline": "03.01"}):
        assert "too bright to tell" in settle(SENTINEL2, ["B03", "B04"], bright, **facts)[1]
    assert "the pixels agree" in settle(SENTINEL2, ["B03", "B04"], WITH, baseline="05.09")[1]


@pytest.mark.parametrize(
    ("facts", "dark"),
    [
        ({"baseline": "05.09", "offset_applied": True}, WITH),  # flag says taken out, pixels still hold it
        ({"baseline": "05.09", "offset_applied": False}, WITHOUT),  # flag says still in, pixels do not hold it
        ({"baseline": "05.09"}, WITHOUT),
        ({"baseline": "03.01"}, WITH),
        ({"baseline": "05.09"}, (1150.0, 210.0)),  # taken out of one band only
        ({"quantities": [MINUS, ZERO]}, WITH),
        ({"baseline": "05.09", "offset_applied": True, "quantities": [MINUS, MINUS]}, WITH),
        ({"baseline": "05.09", "offset_applied": True}, (1060.0, 2600.0)),  # of two bands the darker one must do
    ],
)
def test_mixed_state_is_refused(facts: dict, dark: tuple[float, float]) -> None:
    with pytest.raises(BadData, match="mixed state"):
        settle(SENTINEL2, ["B02", "B03"], dark, **facts)


def test_silent_metadata_is_refused() -> None:
    with pytest.raises(BadData, match="declared"):
        settle(SENTINEL2, ["B02", "B03"], WITH)


@pytest.mark.parametrize("quantity", [Quantity(scale=0.001, offset=0), Quantity(scale=0.0001, offset=-0.05)])
def test_foreign_quantities_are_refused(quantity: Quantity) -> None:
    with pytest.raises(BadData):
        settle(SENTINEL2, ["B02"], [500.0], quantities=[quantity])


def test_declared_values_are_taken_by_band() -> None:
    declared = Radiometry(kind="declared", units="kelvin", scale=(0.5, 2.0), offset=3.0)
    bands, _ = settle(declared, ["a", "b"], [0.0, 0.0])
    assert [(b.name, b.units, b.scale, b.offset) for b in bands] == [
        ("a", "kelvin", 0.5, 3.0),
        ("b", "kelvin", 2.0, 3.0),
    ]


@given(reflectance=st.floats(0.0, 0.04), present=st.booleans(), claimed=st.booleans())
def test_a_wrong_baseline_never_passes_over_dark_ground(reflectance: float, present: bool, claimed: bool) -> None:
    dark = [reflectance * 10_000 + (1000 if present else 0)]
    facts = {"baseline": "05.00" if claimed else "02.00"}
    if present == claimed:
        (band,), _ = settle(SENTINEL2, ["B02"], dark, **facts)
        assert dark[0] * band.scale + band.offset == pytest.approx(reflectance, abs=1e-9)
    else:
        with pytest.raises(BadData):
            settle(SENTINEL2, ["B02"], dark, **facts)


def test_a_source_that_states_another_scale_than_the_declared_is_told_of() -> None:
    declared = Radiometry(kind="declared", units="reflectance", scale=0.0000275, offset=0.0)
    stated = Quantity(scale=0.0000275, offset=-0.2)
    bands, told = settle(declared, ["red"], [1000.0], quantities=[stated])
    assert bands[0].offset == 0.0 and "though the source states scale 2.75e-05, offset -0.2" in told
    _, told = settle(declared.model_copy(update={"offset": -0.2}), ["red"], [1000.0], quantities=[stated])
    assert told == "Scale and offset are those of params.yaml."
