"""Labels of whole scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from pipelines.errors import BadData
from pipelines.labels import open_labels
from pipelines.labels.table import write_folder_classes
from tests.builders import write_scene
from tests.dataset.town import params

PIXELS = np.ones((2, 40, 50), np.uint16)


@pytest.fixture
def scenes(tmp_path: Path) -> list:
    made = [write_scene(tmp_path, PIXELS, id=id) for id in ("a", "b", "c")]
    return [
        s.model_copy(update={"source": f"/pictures/{name}/{s.id}.jpg"}) for s, name in zip(made, "xyz", strict=True)
    ]


def opened(file: Path, **labels: object):
    return open_labels(file, params(file).labels.model_copy(update=labels))


def test_every_pixel_of_a_scene_has_its_class_and_other_scenes_none(tmp_path: Path, scenes: list) -> None:
    names = [c.name for c in params(tmp_path).labels.classes]
    (tmp_path / "classes.csv").write_text(f"scene,class,author\na,{names[1]},kim\nb,3,kim\nc,volcano,kim\n")
    source = opened(tmp_path / "classes.csv")
    assert [source.covers(scene) for scene in scenes] == [True, True, False]
    assert np.array_equal(source.burn(scenes[0]), np.full((40, 50), 1))
    assert np.array_equal(source.burn(scenes[1], Window(10, 5, 20, 8)), np.full((8, 20), 2))
    assert (source.burn(scenes[2]) == 255).all()
    assert source.findings == ["classes.csv: scenes of 'volcano' (1) are left out, which are none of labels.classes."]
    assert not opened(tmp_path / "classes.csv", match="b*").covers(scenes[0])


def test_a_table_may_name_files_and_write_classes_in_any_case(tmp_path: Path, scenes: list) -> None:
    names = [c.name for c in params(tmp_path).labels.classes]
    (tmp_path / "classes.csv").write_text(f"scene,class\npictures/a.JPG,{names[1].upper()}\nb.tif,{names[2].title()}\n")
    source = opened(tmp_path / "classes.csv")
    assert [int(source.burn(scene)[0, 0]) for scene in scenes] == [1, 2, 255] and not source.findings
    dotted = write_scene(tmp_path, PIXELS, id="b.tif")
    assert source.covers(dotted) and source.covers(scenes[1])  # by its id, or else by its file


def test_folders_name_the_classes_in_any_case(tmp_path: Path, scenes: list, caplog: pytest.LogCaptureFixture) -> None:
    names = [c.name for c in params(tmp_path).labels.classes]
    names[2] = names[2].title()
    places = (f"/pictures/{names[2]}/a.jpg", f"/pictures/{names[0]}/b.jpg", "/pictures/incoming/c.jpg")
    found = [scene.model_copy(update={"source": place}) for scene, place in zip(scenes, places, strict=True)]
    write_folder_classes(found, params(tmp_path).labels, tmp_path / "labels" / "classes.csv")
    # a picture that only waits to be mapped leaves the dataset's bytes alone
    assert (tmp_path / "labels" / "classes.csv").read_text() == f"scene,class\na,{names[2]}\nb,{names[0]}\n"
    assert "incoming (1)" in caplog.text and names[2] not in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("scene,class\na,1\na,2\n", "two classes"),
        ("scene,class\ntrain/a.tif,1\nval/a.jpg,2\n", "scene a two classes, by names of its file"),
        ("id,label\na,1\n", "has the columns"),
        ("scene,class\na,1\nb\n", "cut short"),
    ],
)
def test_a_table_that_contradicts_itself_or_lacks_a_column_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(BadData, match=reason):
        opened(tmp_path / "classes.csv")
