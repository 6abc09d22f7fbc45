"""A dataset made by two machines in turn: the bytes of one, from no pixels but those of labelled scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from pipelines.config import settings
from pipelines.depot import work
from pipelines.scenes.catalog import write_index, write_item
from tests.builders import write_scene
from tests.dataset.town import NORTH, params, write_labels, write_town
from tests.depot.machines import Machine

pytestmark = pytest.mark.slow
FAR = (900_000.0, NORTH)  # without labels


def publish(machine: Machine) -> None:
    def body() -> None:
        catalog = settings().catalog / "sample"
        town = write_town(catalog)
        far = write_scene(catalog, np.full((2, 64, 64), 1000, np.uint16), id="far", origin=FAR)
        for scene in (*town, far):
            write_item(catalog / "scenes" / scene.id, scene, fingerprint="x", dated=True, bands=[{}, {}])
        write_index(catalog, "sample")

    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.environment().items():
            patch.setenv(name, value)
        work("publish scenes", body)


def data(desk: Path) -> dict[str, bytes]:
    return {p.relative_to(desk).as_posix(): p.read_bytes() for p in (desk / "data").rglob("*") if p.is_file()}


@pytest.mark.parametrize("pixels", ["shards", "scenes"])
def test_stages_on_two_machines_make_the_dataset_of_one(tmp_path: Path, store: str, pixels: str) -> None:
    values = params(write_labels(tmp_path / "parcels.gpkg"), chips={"pixels": pixels}).model_dump(mode="json")
    desks = [tmp_path / name for name in ("single-desk", "desk")]
    for desk in desks:
        desk.mkdir()
        (desk / "params.yaml").write_text(yaml.safe_dump(values))
    single = Machine(tmp_path / "single", desks[0], None)
    one, other, third = (Machine(tmp_path / name, desks[1], store) for name in ("one", "other", "third"))
    publish(single)
    publish(Machine(tmp_path / "source", desks[1], store))
    for stage, machine in (("snapshot", one), ("split", other), ("chip", other), ("statistics", third)):
        assert machine.swath(stage) == single.swath(stage)
    made = data(desks[1])
    assert made == data(desks[0]) and "data/chips/index.parquet" in made
    scenes = [f"catalog/sample/scenes/{id}" for id in ("here-a", "here-b", "there")]
    labelled = {f"{scene}/{name}.tif" for scene in scenes for name in ("image", "mask")}
    assert one.cached(".tif") == labelled and other.cached(".tif") == labelled
    assert third.cached(".tif") == (labelled if pixels == "scenes" else set()), "training reads where the chips say"
