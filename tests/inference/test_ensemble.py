"""Several models as one, and where they disagree."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from pipelines.errors import BadData
from pipelines.inference import ensemble
from pipelines.inference.ensemble import Ensemble
from pipelines.inference.predict import predict
from tests.inference.maps import TILING, scene_raster

pytestmark = pytest.mark.slow


def test_a_model_beside_itself_gives_its_own_map_and_no_disagreement(tmp_path, bundle, runtime):
    _, raster, mask = scene_raster(tmp_path, bundle)
    predict(raster, bundle, runtime, tmp_path / "one", TILING)
    predict(raster, bundle, Ensemble([bundle, bundle]), tmp_path / "two", TILING, recorder=None)
    for name in ("classes", "confidence"):
        shown = []
        for folder in ("one", "two"):
            with rasterio.open(tmp_path / folder / f"{name}.tif") as made:
                shown.append(made.read().astype(int))
        apart = np.abs(shown[0] - shown[1])
        assert (apart > (name == "confidence")).mean() < 1e-3  # rounding decides a few
    with rasterio.open(tmp_path / "two" / "disagreement.tif") as made:
        shown = made.read(1)
        assert (shown[mask == 0] == 0).all() and (shown[mask != 0] == 255).all()
    item = json.loads((tmp_path / "two" / "item.json").read_text())
    assert item["properties"]["swath:ensemble"] == [bundle.uri, bundle.uri] and "disagreement" in item["assets"]


def test_disagreement_is_the_information_that_the_model_has_on_the_class(bundle, monkeypatch):
    answers = iter([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])

    class Sure:
        engine, calls, channels, digest, resident_bytes, device = "", 1, 3, "", 0, None

        def __init__(self, bundle, precision):
            self.says = np.array(next(answers), np.float32)

        def __call__(self, pixels):
            return np.broadcast_to(self.says[None, :, None, None], (len(pixels), 3, *pixels.shape[2:]))

    monkeypatch.setattr(ensemble, "Runtime", Sure)
    found = Ensemble([bundle, bundle])(np.zeros((2, 3, 64, 64), np.float32))
    assert found.shape == (2, 4, 64, 64)
    assert np.allclose(found[:, :3, 0, 0], [0.475, 0.475, 0.05])
    single = -(0.9 * np.log(0.9) + 2 * 0.05 * np.log(0.05))
    together = -(2 * 0.475 * np.log(0.475) + 0.05 * np.log(0.05))
    assert np.allclose(found[:, 3], (together - single) / np.log(3), atol=1e-5)


def test_models_of_other_classes_are_not_averaged(bundle):
    classes = bundle.contract.classes[::-1]
    other = replace(bundle, contract=bundle.contract.model_copy(update={"classes": classes}))
    with pytest.raises(BadData, match="cannot be averaged: their classes are"):
        Ensemble([bundle, other])


def test_models_that_look_at_other_pictures_are_not_averaged(bundle):
    for changes, word in (({"task": "classification"}, "tasks"),):
        other = replace(bundle, contract=bundle.contract.model_copy(update=changes))
        with pytest.raises(BadData, match=f"cannot be averaged: their {word} are"):
            Ensemble([bundle, other])
    ours, theirs = (
        replace(bundle, contract=bundle.contract.model_copy(update={"task": "classification", "window": size}))
        for size in (64, 128)
    )
    with pytest.raises(BadData, match="pictures of 64 and 128 px"):
        Ensemble([ours, theirs])
