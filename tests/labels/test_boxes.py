from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.affinity import rotate
from shapely.geometry import box

from pipelines.config.params import LabelClass, Labels
from pipelines.errors import BadData
from pipelines.labels import open_labels
from pipelines.labels.boxes import Boxes
from pipelines.labels.source import boxes_of
from tests.builders import write_scene

HEAD = "image_path,xmin,ymin,xmax,ymax,label\n"


def labels(**changes: object) -> Labels:
    classes = [LabelClass(name=n, value=i, color="#112233") for i, n in enumerate(("ground", "Tree", "house"))]
    return Labels.model_validate({"source": "", "background": "ground", "classes": classes} | changes)


@pytest.fixture
def scene(tmp_path: Path):
    return write_scene(tmp_path, np.ones((1, 60, 80), np.uint16), id="OSBS_029")


def test_a_table_of_boxes_is_read_burned_and_cut_at_the_border(tmp_path: Path, scene) -> None:
    rows = ("10,20,15,24,Tree", "70,-5,85,5,house", "79.9,20,99,40,Tree", "30,30,30,40,Tree")
    table = "".join(f"OSBS_029.tif,{row}\n" for row in rows) + "other.png,1,1,5,5,Car\n"
    (tmp_path / "boxes.csv").write_text(HEAD + table)
    source = open_labels(tmp_path / "boxes.csv", labels())
    found = boxes_of(source, scene)
    assert found.corners.tolist() == [[10, 20, 15, 24], [70, 0, 80, 5]] and found.classes.tolist() == [1, 2]
    burned = source.burn(scene)
    assert (burned[20:24, 10:15] == 1).all() and (burned[0:5, 70:80] == 2).all()
    assert (burned > 0).sum() == 5 * 4 + 10 * 5
    assert len(source.findings) == 2 and "no area" in source.findings[0] and "'Car' (1)" in source.findings[1]


def test_an_id_keeps_its_dots_and_loses_the_ending_of_its_file_alone(tmp_path: Path, scene) -> None:
    named = ("orth_0.5m_A", "images/orth_0.5m_B.TIF", "orth_0.5m_C.jp2")
    (tmp_path / "boxes.csv").write_text(HEAD + "".join(f"{name},1,1,9,9,Tree\n" for name in named))
    source = open_labels(tmp_path / "boxes.csv", labels())
    for id, count in (("orth_0.5m_A", 1), ("orth_0.5m_B", 1), ("orth_0.5m_C", 1), ("orth_0", 0)):
        one = scene.model_copy(update={"id": id})
        assert source.covers(one) == bool(count) and len(boxes_of(source, one).corners) == count


def test_annotations_of_pascal_voc_are_read_like_a_table(tmp_path: Path, scene) -> None:
    box_of = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>15</xmax><ymax>24</ymax></bndbox>"
    text = f"<annotation><filename>OSBS_029.tif</filename><object><name>Tree</name>{box_of}</object></annotation>"
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "one.xml").write_text(text)
    for place in (folder / "one.xml", folder / "*.xml", folder):
        assert boxes_of(open_labels(place, labels()), scene).corners.tolist() == [[10, 20, 15, 24]]
    (folder / "none.xml").write_text("<annotation><filename>bare.png</filename></annotation>")
    bare = scene.model_copy(update={"id": "bare"})
    source = open_labels(folder, labels())
    assert source.covers(bare) and (source.burn(bare) == 0).all() and not len(boxes_of(source, bare).corners)
    (folder / "one.xml").write_text(text.replace("<xmin>10", "<xmin>"))
    with pytest.raises(BadData, match="no annotation of Pascal VOC"):
        open_labels(folder, labels())


def test_scenes_that_a_table_lacks_are_unlabelled_and_not_empty(tmp_path: Path, scene) -> None:
    (tmp_path / "boxes.csv").write_text(HEAD + "elsewhere,10,20,15,24,Tree\n")
    source = open_labels(tmp_path / "boxes.csv", labels())
    assert not source.covers(scene) and (source.burn(scene) == 255).all()


def test_a_shape_gives_the_box_around_it_in_pixels_of_the_scene(tmp_path: Path, scene) -> None:
    x, y = scene.affine @ (20, 30)
    lying = box(x, y - 100, x + 200, y)  # 20 x 10 pixels of 10 m
    turned = rotate(lying, 90)
    ground = box(x - 100, y, x - 50, y + 50)
    kinds = ["Tree", "house", "ground"]
    gpd.GeoDataFrame({"kind": kinds}, geometry=[lying, turned, ground], crs=scene.crs).to_crs("EPSG:4326").to_file(
        tmp_path / "shapes.gpkg"
    )
    found = boxes_of(open_labels(tmp_path / "shapes.gpkg", labels(field="kind")), scene)
    assert found.classes.tolist() == [1, 2]
    assert np.allclose(found.corners, [[20, 30, 40, 40], [25, 25, 35, 45]], atol=0.1)


def test_of_an_object_at_the_edge_of_a_chip_enough_must_be_seen() -> None:
    boxes = Boxes(np.array([[0, 0, 10, 10], [8, 8, 18, 18], [40, 40, 50, 50]], np.float32), np.ones(3, np.uint8))
    inside, kept = boxes.within(5, 0, 20, 20, 0.5)
    assert inside.corners.tolist() == [[0, 0, 5, 10], [3, 8, 13, 18]] and kept.tolist() == [True, True, False]
    assert boxes.within(6, 0, 20, 20, 0.5)[0].corners.tolist() == [[2, 8, 12, 18]]
    # a crop shows three fifths of what the chip does, which is less than a third of the object
    crop, _ = inside.within(2, 0, 18, 20, 0.5, boxes.areas[kept])
    assert crop.corners.tolist() == [[1, 8, 11, 18]]


def test_boxes_need_a_background_and_labels_that_are_drawn(tmp_path: Path, scene) -> None:
    (tmp_path / "boxes.csv").write_text(HEAD + "OSBS_029,10,20,15,24,Tree\n")
    with pytest.raises(BadData, match=r"set labels.background"):
        open_labels(tmp_path / "boxes.csv", labels(background=None))
    (tmp_path / "classes.csv").write_text("scene,class\nOSBS_029,Tree\n")
    with pytest.raises(BadData, match="a vector file, a CSV of boxes"):
        boxes_of(open_labels(tmp_path / "classes.csv", labels()), scene)
    (tmp_path / "boxes.csv").write_text(HEAD + "OSBS_029,10,twenty,15,24,Tree\n")
    with pytest.raises(BadData, match="four numbers"):
        open_labels(tmp_path / "boxes.csv", labels())


def test_boxes_of_a_whole_image_are_found_in_the_part_that_a_scene_is(tmp_path: Path, scene) -> None:
    (tmp_path / "boxes.csv").write_text(HEAD + "OSBS_029.tif,110,220,115,224,Tree\nOSBS_029.tif,30,30,35,34,Tree\n")
    part = scene.model_copy(update={"corner": (100, 200)})
    assert boxes_of(open_labels(tmp_path / "boxes.csv", labels()), part).corners.tolist() == [[10, 20, 15, 24]]


def test_images_of_one_name_in_two_folders_are_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(HEAD + "harbour/001.png,1,1,9,9,Tree\nbay/001.png,20,20,29,29,Tree\n")
    with pytest.raises(BadData, match=r"boxes of harbour/001.png and of bay/001.png, which both are the scene 001"):
        open_labels(tmp_path / "boxes.csv", labels())


def test_an_image_in_which_there_is_nothing_is_labelled_too(tmp_path: Path, scene) -> None:
    (tmp_path / "boxes.csv").write_text(HEAD + "OSBS_029.tif,,,,,\n")
    source = open_labels(tmp_path / "boxes.csv", labels())
    assert source.covers(scene) and (source.burn(scene) == 0).all() and not len(boxes_of(source, scene).corners)
    assert not source.findings
