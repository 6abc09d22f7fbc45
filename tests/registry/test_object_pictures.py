from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipelines.config.params import LabelClass
from pipelines.evaluation.objects import Truth
from pipelines.labels.boxes import Boxes
from pipelines.registry.object_pictures import draw_objects
from tests.builders import write_scene


def test_an_object_of_less_than_a_pixel_is_drawn_too(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "catalog", np.full((3, 320, 320), 100, np.uint16))
    corners = np.array([[20, 30, 20.8, 30.5], [100, 120, 160, 200], [319.6, 0, 320, 8]], np.float32)
    chips = pd.DataFrame({"row": [0], "col": [0], "size": [320], "block_id": ["b"]})
    truth = Truth(scene, Boxes(corners, np.ones(3, np.uint8)), np.array(["b"] * 3, object), chips)
    classes = [LabelClass(name=n, value=i, color="#c8443c") for i, n in enumerate(("ground", "house"))]
    assert draw_objects(tmp_path, "worst", truth, "b", tmp_path / "catalog", {}, classes) == (
        "worst-image",
        "worst-labels",
    )
    picture = np.asarray(Image.open(tmp_path / "worst-labels.png").convert("RGB"))
    red = (picture == (0xC8, 0x44, 0x3C)).all(axis=2)
    assert red[30, 20] and red[120, 100] and red[0, 319] and not red[60, 60]
