"""Objects planted in a scene come back from any windows, each once, to the pixel."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.config.params import LabelClass
from pipelines.inference.detect import burned, detected
from pipelines.inference.merge import merged
from pipelines.inference.outlines import write_objects
from pipelines.inference.windows import Axis
from pipelines.training.objects import Objects, suppressed

Box = tuple[int, int, int, int]


class Scene:
    """One band that holds, in each pixel, its own number from 1, so that a window knows where it lies."""

    bands = 1

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def read(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        numbers = np.arange(1, self.height * self.width + 1, dtype=np.float32).reshape(self.height, self.width)
        return numbers[None, rows], np.zeros((rows.stop - rows.start, self.width), np.uint8)


def on_raster(numbers: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Which places of a window lie on the raster and not on its reflection beyond the border."""
    start = -numbers[0] if numbers[1] < numbers[0] else numbers[0]  # a reflection falls before it rises
    places = np.arange(len(numbers))
    return places[(places + start >= 0) & (places + start < length)]


class Eyes:
    """Sees of each planted box what a window shows of it, and of what is cut off by the window only the part within."""

    def __init__(self, scene: Scene, boxes: list[Box], window: int) -> None:
        self.scene, self.window, self.asked = scene, window, 0
        self.owner = np.full((scene.height, scene.width), -1)
        for number, (left, top, right, bottom) in enumerate(boxes):
            self.owner[top:bottom, left:right] = number
        self.boxes = boxes

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked += len(windows)
        answers = np.zeros((len(windows), max(len(self.boxes), 1), 6), np.float32)
        for answer, (pixels,) in zip(answers, windows, strict=True):
            rows, columns = np.divmod(pixels.astype(np.int64) - 1, self.scene.width)
            straight = np.ix_(on_raster(rows[:, 0], self.scene.height), on_raster(columns[0], self.scene.width))
            shown = np.full(pixels.shape, -1)
            shown[straight] = self.owner[rows, columns][straight]
            for number in range(len(self.boxes)):
                seen = shown == number
                if seen.any():
                    y, x = np.nonzero(seen)
                    answer[number] = [x.min(), y.min(), x.max() + 1, y.max() + 1, 0, 0.9]
        return answers


def find(scene: Scene, boxes: list[Box], window: int, overlap: int, kept: Path | None = None) -> Objects:
    eyes = Eyes(scene, boxes, window)
    return detected(scene, eyes, fill=[0.0], **grid(scene, window, overlap), batch=3, kept=kept)


def grid(scene: Scene, window: int, overlap: int) -> dict[str, Axis]:
    return {"down": Axis(scene.height, window, overlap), "across": Axis(scene.width, window, overlap)}


def as_set(objects: Objects) -> set[Box]:
    return {(int(a), int(b), int(c), int(d)) for a, b, c, d in np.rint(objects.boxes)}


@st.composite
def towns(draw: st.DrawFn) -> tuple[Scene, list[Box]]:
    """Boxes a few pixels apart: one in each cell of a grid, or none."""
    cells = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    side = draw(st.integers(20, 60))
    boxes = []
    for row in range(cells[0]):
        for column in range(cells[1]):
            if draw(st.booleans()):
                width, height = draw(st.integers(6, side - 4)), draw(st.integers(6, side - 4))
                left = column * side + draw(st.integers(0, side - 4 - width))
                top = row * side + draw(st.integers(0, side - 4 - height))
                boxes.append((left, top, left + width, top + height))
    return Scene(cells[0] * side, cells[1] * side), boxes


@settings(max_examples=60, deadline=None)
@given(town=towns(), window=st.sampled_from([64, 96]), overlap=st.sampled_from([16, 32]))
def test_each_object_is_found_once_and_to_the_pixel_whatever_the_windows(
    town: tuple[Scene, list[Box]], window: int, overlap: int
) -> None:
    scene, boxes = town
    found = find(scene, boxes, window, overlap)
    assert len(found) == len(boxes)
    for box in as_set(found):  # a side that ends within the two pixels of a window's edge may be off by those
        assert any(np.abs(np.subtract(box, planted)).max() <= 2 for planted in boxes)


def test_an_object_larger_than_windows_is_put_together() -> None:
    boxes = [(10, 20, 190, 60), (20, 90, 60, 290), (90, 100, 240, 280)]
    assert as_set(find(Scene(300, 260), boxes, 64, 32)) == set(boxes)


def test_rows_of_houses_larger_than_the_overlap_stay_apart() -> None:
    terraces = [(10, 20, 100, 60), (10, 60, 100, 100), (150, 20, 190, 110), (190, 20, 230, 110)]
    assert as_set(find(Scene(200, 260), terraces, 64, 32)) == set(terraces)


def test_an_object_at_the_border_is_kept_however_its_reflection_moves_it() -> None:
    scene = Scene(100, 100)
    for jitter in (-1.5, 0.0, 1.5):

        def seen(windows: NDArray[np.float32], jitter: float = jitter) -> NDArray[np.float32]:
            answers = np.zeros((len(windows), 1, 6), np.float32)
            if len(windows) and windows[0, 0, 16, 16] == 1:  # the window at the upper left corner begins at -16
                answers[0, 0] = [16 - 20 + jitter, 40, 16 + 20 + jitter, 60, 0, 0.9]  # the object and its reflection
            return answers

        found = detected(scene, seen, fill=[0.0], **grid(scene, 64, 32), batch=1)
        assert len(found) == 1 and found.boxes[0, 0] == 0 and abs(found.boxes[0, 2] - 20) <= 1.5


@pytest.mark.parametrize(("right", "kept"), [(-2, False), (0, False), (3, False), (15, True)])
def test_an_object_that_lies_beyond_the_border_for_the_most_part_is_the_reflection_of_another(
    right: int, kept: bool
) -> None:
    def seen(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        answers = np.zeros((len(windows), 1, 6), np.float32)
        if len(windows) and windows[0, 0, 16, 16] == 1:  # the window at the upper left corner begins at -16
            answers[0, 0] = [4, 40, 16 + right, 60, 0, 0.9]
        return answers

    found = detected(Scene(100, 100), seen, fill=[0.0], **grid(Scene(100, 100), 64, 32), batch=1)
    assert as_set(found) == ({(0, 24, right, 44)} if kept else set())


def test_what_lies_under_cloud_is_no_object() -> None:
    scene = Scene(100, 100)
    clear = scene.read

    def read(rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        pixels, mask = clear(rows)
        mask[:, 50:] = 2
        return pixels, mask

    eyes = Eyes(scene, [(10, 20, 40, 60), (60, 20, 90, 60)], 64)
    scene.read = read  # type: ignore[method-assign]
    numbers = np.arange(1, 10001, dtype=np.float32).reshape(100, 100)

    def unmasked(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        rows, columns = np.arange(-8, 92)[:, None], np.arange(-8, 92)[None]
        whole = numbers[np.abs(rows), np.abs(columns)]
        return eyes(np.broadcast_to(whole[None, None], (len(windows), 1, 100, 100)))

    found = detected(scene, unmasked, fill=[0.0], **grid(scene, 128, 16), batch=1)
    assert {box[:2] for box in as_set(found)} <= {(10, 20)} and len(found) == 1


def test_neighbours_of_another_class_and_of_the_same_stay_apart() -> None:
    boxes = np.array([[0, 0, 10, 10], [9, 0, 19, 10], [0, 0, 10, 10]], np.float32)
    objects = Objects(
        boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([1, 1, 2], np.uint8), np.zeros((3, 4), bool)
    )
    assert len(merged(objects)) == 3


def a_row_of(*boxes: Box, cut: NDArray[np.bool_] | None = None, scores: tuple[float, ...] = (0.9, 0.8, 0.7)) -> Objects:
    classes = np.ones(len(boxes), np.uint8)
    cut = np.zeros((len(boxes), 4), bool) if cut is None else cut
    return Objects(np.array(boxes, np.float32), np.array(scores[: len(boxes)], np.float32), classes, cut)


def test_a_box_that_gave_way_makes_no_other_give_way() -> None:
    first, second, third = (0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10)
    assert as_set(merged(a_row_of(first, second, third))) == {first, third}


def test_parts_are_joined_along_a_chain_of_cuts_and_have_the_highest_score() -> None:
    left, middle, right = (0, 0, 40, 10), (30, 0, 70, 11), (60, 1, 95, 10)
    cut = np.array([[0, 0, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0]], bool)
    for order in itertools.permutations(range(3)):
        found = merged(a_row_of(left, middle, right, cut=cut, scores=(0.5, 0.4, 0.8))[np.array(order)])
        assert as_set(found) == {(0, 0, 95, 11)} and found.scores == pytest.approx([0.8])


def test_of_two_houses_that_one_cut_runs_through_each_keeps_its_own_parts() -> None:
    above, below = (0, 0, 40, 10), (30, 12, 70, 22)  # the one is cut off at its right, the other at its left
    cut = np.array([[0, 0, 1, 0], [1, 0, 0, 0]], bool)
    assert as_set(merged(a_row_of(above, below, cut=cut))) == {above, below}
    unlike = (30, 0, 70, 30)  # goes on there, three times as high
    assert as_set(merged(a_row_of(above, unlike, cut=cut))) == {above, unlike}


@pytest.mark.parametrize(("beside", "left"), [(4, 1), (6, 2)])
def test_a_part_vanishes_in_a_whole_box_that_holds_half_of_it(beside: int, left: int) -> None:
    part = (20 - 10 + beside, 0, 20 + beside, 20)  # ten wide, ``beside`` of them outside
    cut = np.array([[0, 0, 0, 0], [0, 0, 1, 0]], bool)
    assert len(merged(a_row_of((0, 0, 20, 20), part, cut=cut))) == left


def test_of_boxes_on_one_object_the_highest_score_stays() -> None:
    answer = np.array([[0, 0, 10, 10, 0, 0.6], [1, 0, 11, 10, 0, 0.8], [40, 40, 50, 50, 0, 0.01]], np.float32)
    found = suppressed(answer)
    assert found.boxes.tolist() == [[1, 0, 11, 10]] and found.classes.tolist() == [1]


def test_a_killed_detection_goes_on_after_its_finished_rows(tmp_path: Path) -> None:
    scene, boxes = Scene(300, 200), [(10, 20, 50, 60), (100, 200, 160, 280)]
    whole = find(scene, boxes, 64, 32)
    eyes = Eyes(scene, boxes, 64)

    def dying(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if eyes.asked > 20:
            raise KeyboardInterrupt
        return eyes(windows)

    with pytest.raises(KeyboardInterrupt):
        detected(
            scene,
            dying,
            fill=[0.0],
            **grid(scene, 64, 32),
            batch=3,
            kept=tmp_path,
        )
    before = eyes.asked
    again = detected(
        scene,
        eyes,
        fill=[0.0],
        **grid(scene, 64, 32),
        batch=3,
        kept=tmp_path,
    )
    assert np.array_equal(again.boxes, whole.boxes) and len(list(tmp_path.iterdir())) > 2
    fresh = Eyes(scene, boxes, 64)
    detected(scene, fresh, fill=[0.0], **grid(scene, 64, 32), batch=3)
    assert eyes.asked - before < fresh.asked


def test_a_map_of_objects_shows_what_is_above_the_threshold() -> None:
    boxes = np.array([[2, 3, 12, 9], [10, 3, 20, 9], [30, 30, 40, 40]], np.float32)
    objects = Objects(
        boxes, np.array([0.9, 0.5, 0.2], np.float32), np.array([1, 2, 1], np.uint8), np.zeros((3, 4), bool)
    )
    bands = list(burned(Scene(70, 50), objects, threshold=0.3, classes=3, fill=[0.0], down=Axis(70, 32, 8)))
    probabilities = np.concatenate([band.probabilities for band in bands], axis=1)
    classes = probabilities.argmax(axis=0)
    assert np.allclose(probabilities.sum(axis=0), 1)
    assert (classes[3:9, 2:12] == 1).all() and (classes[3:9, 12:20] == 2).all()
    assert classes.astype(bool).sum() == 6 * 18


@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        (Affine(10, 0, 500_000, 0, -10, 7_000_000), [(500_020, 6_999_970), (500_120, 6_999_910)]),
        # turned by a right angle: columns run north, rows east
        (Affine(0, 10, 500_000, 20, 0, 7_000_000), [(500_030, 7_000_040), (500_090, 7_000_240)]),
    ],
)
def test_an_object_lies_where_its_pixels_do(
    affine: Affine, expected: list[tuple[float, float]], tmp_path: Path
) -> None:
    boxes = np.array([[2, 3, 12, 9]], np.float32)
    objects = Objects(boxes, np.array([0.9], np.float32), np.array([1], np.uint8), np.zeros((1, 4), bool))
    classes = [LabelClass(name=name, value=i, color="#000000") for i, name in enumerate(("ground", "crown"))]
    grid = SimpleNamespace(crs="EPSG:32621", affine=affine, width=70, height=50)
    write_objects(objects, grid, classes, tmp_path)
    for file in ("objects.parquet", "objects.fgb"):
        read = gpd.read_parquet if file.endswith("parquet") else gpd.read_file
        found = read(tmp_path / file)
        (west, south), (east, north) = ([f(c) for c in zip(*expected, strict=True)] for f in (min, max))
        assert found.geometry[0].bounds == (west, south, east, north) and found.crs == "EPSG:32621"
        assert found["class_name"].tolist() == ["crown"]
