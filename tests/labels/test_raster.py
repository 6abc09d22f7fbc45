from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from pipelines.config.params import LabelClass
from pipelines.errors import BadData
from pipelines.labels import burn, open_labels
from pipelines.scenes.scene import Scene
from tests.builders import UTM_21S, write_scene
from tests.labels.test_vector import CLASSES, NORTH, WEST, labels

VALUES = np.random.default_rng(0).choice([0, 10, 20, 30, 99], (40, 60)).astype(np.uint8)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return write_scene(tmp_path / "catalog", np.ones((1, 40, 60), np.uint16), id="scene", origin=(WEST, NORTH))


def write(
    folder: Path, values: np.ndarray = VALUES, crs: str | None = UTM_21S, left: float = 0, pixel: float = 10
) -> Path:
    folder.mkdir(exist_ok=True)
    grid = {"crs": crs, "transform": Affine(pixel, 0, WEST + left, 0, -pixel, NORTH), "nodata": 0} if crs else {}
    height, width = values.shape
    file, driver = folder / f"scene.{'tif' if crs else 'png'}", "GTiff" if crs else "PNG"
    with rasterio.open(file, "w", driver=driver, count=1, dtype="uint8", height=height, width=width, **grid) as out:
        out.write(values, 1)
    return folder


def test_values_become_classes_and_all_others_are_unlabelled(tmp_path: Path, scene: Scene) -> None:
    folder = write(tmp_path / "masks")
    burned = burn(scene, folder, labels())
    expected = np.full((40, 60), 255)
    for index, value in enumerate((10, 20, 30)):
        expected[value == VALUES] = index
    assert np.array_equal(burned, expected)
    assert np.array_equal(burn(scene, folder, labels(), Window(5, 6, 7, 8)), expected[6:14, 5:12])


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ({"values": np.zeros((40, 63), np.uint8)}, "63 x 40 pixels and scene scene has 60 x 40"),
        ({"crs": "EPSG:32720"}, "EPSG:32720"),
        ({"left": 10}, "1.00 pixels off"),
        ({"pixel": 10.5}, "pixels off"),
    ],
)
def test_a_raster_on_another_grid_is_refused(tmp_path: Path, scene: Scene, mask: dict, sentence: str) -> None:
    folder = write(tmp_path / "masks", **mask)
    with pytest.raises(BadData, match=sentence) as error:
        burn(scene, folder, labels())
    assert str(tmp_path) not in str(error.value)  # the reason goes into the manifest


def test_corners_within_half_a_pixel_are_taken_and_told(tmp_path: Path, scene: Scene) -> None:
    source = open_labels(write(tmp_path / "masks", left=3), labels())
    assert np.array_equal(source.burn(scene) == 0, VALUES == 10)
    assert "0.30 pixels off" in source.findings[0]


def test_a_picture_without_georeference_is_taken_for_the_scene_s_grid_and_told(tmp_path: Path, scene: Scene) -> None:
    source = open_labels(write(tmp_path / "masks", crs=None), labels())
    assert np.array_equal(source.burn(scene) == 0, VALUES == 10)
    assert "no georeference" in source.findings[0]


def test_a_nodata_value_that_is_a_class_is_told(tmp_path: Path, scene: Scene) -> None:
    folder = write(tmp_path / "masks")
    ground = LabelClass(name="ground", value=0, color="#333333")
    source = open_labels(folder, labels(classes=[*CLASSES, ground]))
    assert ((source.burn(scene) == 3) == (VALUES == 0)).all()
    assert "declares 0 as nodata" in source.findings[0]
    plain = open_labels(folder, labels())
    assert (plain.burn(scene)[VALUES == 0] == 255).all() and "nodata, which" not in str(plain.findings)


def test_values_that_are_no_class_are_told_once_unless_they_are_declared_as_nodata(tmp_path: Path) -> None:
    folder, values = tmp_path / "masks", np.where(VALUES == 99, 255, VALUES).astype(np.float32)
    values[0, 0] = np.nan
    scenes = []
    for name in ("a", "b"):
        scenes.append(write_scene(tmp_path / "catalog", np.ones((1, 40, 60), np.uint16), id=name, origin=(WEST, NORTH)))
        write(folder).joinpath("scene.tif").rename(folder / f"{name}.tif")
        grid = {"crs": UTM_21S, "transform": Affine(10, 0, WEST, 0, -10, NORTH), "nodata": 0}
        with rasterio.open(folder / f"{name}.tif", "w", "GTiff", 60, 40, 1, dtype="float32", **grid) as out:
            out.write(values if name == "b" else np.where(values == 10, 99, values), 1)
    source = open_labels(folder, labels())
    for each in [*scenes, *scenes]:
        source.burn(each)
    (told,) = source.findings
    assert told.startswith("Label rasters hold 255 (2 files, such as a.tif), 99 (a.tif), which labels.classes does not")


def test_a_raster_of_endless_values_is_told_in_one_line(
    tmp_path: Path, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    folder, random = tmp_path / "masks", np.random.default_rng(0)
    write(folder)
    grid = {"crs": UTM_21S, "transform": Affine(10, 0, WEST, 0, -10, NORTH)}
    with rasterio.open(folder / "scene.tif", "w", "GTiff", 60, 40, 1, dtype="float64", **grid) as out:
        out.write(np.where(VALUES == 99, 1234567, random.uniform(100, 200, (40, 60))), 1)
    source = open_labels(folder, labels())
    source.burn(scene, Window(0, 0, 60, 20))
    source.burn(scene, Window(0, 20, 60, 20))
    assert len(caplog.records) == 1 and len(source.findings) == 1 and len(source.findings[0]) < 600


def test_two_rasters_for_one_scene_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "masks", crs=None)
    write(tmp_path / "masks")
    with pytest.raises(BadData, match="same scene"):
        open_labels(tmp_path / "masks", labels())


def test_a_truncated_raster_is_refused(tmp_path: Path, scene: Scene) -> None:
    folder = write(tmp_path / "masks")
    (folder / "scene.tif").write_bytes((folder / "scene.tif").read_bytes()[:6])
    with pytest.raises(BadData, match=r"scene\.tif cannot be read"):
        burn(scene, folder, labels())
