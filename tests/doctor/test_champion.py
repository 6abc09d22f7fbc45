"""Whether the model in charge is one for what params.yaml describes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.config import load_params
from pipelines.doctor.champion import champion
from tests.doctor.conftest import only

PARAMS = load_params()
FITS = {
    "band_names": PARAMS.scenes.bands,
    "classes": PARAMS.labels.classes,
    "task": PARAMS.task,
    "radiometry": PARAMS.scenes.radiometry.kind,
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"band_names": PARAMS.scenes.bands[::-1]}, "takes the bands"),
        ({"classes": PARAMS.labels.classes[1:]}, "knows the classes"),
        ({"task": "detection"}, "is for detection"),
        ({"radiometry": "declared"}, "reads pixels as declared"),
        ({}, None),
    ],
)
def test_a_champion_for_something_else_is_a_fault(
    change: dict[str, Any], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = SimpleNamespace(name="sample v1", contract=SimpleNamespace(**FITS | change))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("pipelines.bundle.store.open_bundle", lambda uri: bundle)
    monkeypatch.setattr("pipelines.registry.rollback.prove", lambda bundle: None)
    found = only(champion(PARAMS), "fault" if told else "fine")
    assert told is None or told in found.what
