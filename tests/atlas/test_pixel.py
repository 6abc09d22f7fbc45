from __future__ import annotations

from datetime import date

import pytest

from pipelines.atlas.layers import Atlas
from pipelines.atlas.pixel import pixel_at
from pipelines.errors import BadData
from tests.atlas.ground import degrees


def test_a_pixel_tells_class_confidence_scene_day_and_model(atlas: Atlas) -> None:
    found = pixel_at(atlas, *degrees(128, 100))
    assert found is not None
    assert (found.scene, found.when.date(), found.hidden) == ("late", date(2024, 7, 1), None)
    assert [(said.version, said.name, said.confidence, said.color) for said in found.maps] == [
        (2, "house", 0.6, "#ff0000"),
        (1, "wood", 0.8, "#00ff00"),
    ]
    assert found.maps[1].model == "models:/village/1"
    assert found.bands == {"B02": 0.25, "B03": 0.25, "B04": 0.25, "B08": 0.25} and found.units == "reflectance"


def test_the_very_pixel_is_told_not_its_neighbour(atlas: Atlas) -> None:
    names = [pixel_at(atlas, *degrees(128, column)).maps[1].name for column in (63, 64, 191, 192)]  # type: ignore[union-attr]
    assert names == ["water", "wood", "wood", "house"]


def test_under_a_cloud_the_scene_is_told_and_no_class(atlas: Atlas) -> None:
    found = pixel_at(atlas, *degrees(5, 100))
    assert found is not None and (found.scene, found.hidden) == ("late", "cloud")
    assert {(said.name, said.confidence) for said in found.maps} == {(None, None)}


def test_where_the_newest_has_no_data_an_older_one_is_told(atlas: Atlas) -> None:
    found = pixel_at(atlas, *degrees(250, 5))
    assert found is not None and found.scene == "early"
    assert pixel_at(atlas, *degrees(250, 5), scene="late") is None


def test_a_day_and_a_place_bound_the_question(atlas: Atlas) -> None:
    found = pixel_at(atlas, *degrees(128, 100), until=date(2024, 6, 1))
    assert found is not None and found.scene == "early"
    assert pixel_at(atlas, *degrees(128, 100), until=date(2024, 4, 1)) is None
    assert pixel_at(atlas, *degrees(128, 1000)) is None
    with pytest.raises(BadData):
        pixel_at(atlas, 200.0, 0.0)
