"""Maps and the watch over them by two machines in turn: the bytes of one, and no pixels that nobody reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml

from pipelines.bundle.build import build
from pipelines.bundle.store import BUNDLE_TAG
from pipelines.config import settings
from pipelines.depot import bring, work
from pipelines.depot.store import Store
from pipelines.monitoring.profile import SceneProfile
from pipelines.monitoring.reference import write_reference
from pipelines.scenes.catalog import write_index, write_item
from tests.builders import write_scene
from tests.bundle.trained import BANDS, CLASSES, small_params, write_workspace
from tests.depot.machines import Machine, files, held
from tests.monitoring.world import Ground

pytestmark = pytest.mark.slow
SCENES = ("a", "b", "c", "d")
STEPS = ("plan", "shard 0", "shard 1", "publish", "profile", "compare", "report", "decide")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    values = small_params().model_dump(mode="json")
    values["predict"] |= {"shard": 2, "max_memory": "16GB"}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learned from darker ground than it is going to map."""
    folder = tmp_path_factory.mktemp("bundle")
    params = write_workspace(folder)
    samples = []
    for seed in range(4):
        ground = Ground(f"dark-{seed}", season="winter", datetime=datetime(2023, 7, 1, tzinfo=UTC))
        observer = SceneProfile(BANDS, CLASSES, params.drift.sample, (152, 152), ground)
        pixels = np.random.default_rng(seed).uniform(0.02, 0.05, (3, 152, 152)).astype(np.float32)
        observer(slice(0, 152), pixels, np.zeros((152, 152), np.uint8))
        samples.append((observer.facts(), observer.columns()))
    shutil.rmtree(folder / "data" / "reference")
    write_reference(folder / "data" / "reference", samples, params.drift.by)
    (folder / "data" / "evaluation" / "outputs" / "index.json").unlink()
    build(folder, params, folder / "bundle")
    return folder / "bundle"


@pytest.fixture(autouse=True)
def champion(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that every machine reaches, with a champion."""
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)  # which an earlier test of this process may have set
    client = mlflow.MlflowClient()
    client.create_registered_model("sample")
    client.create_model_version("sample", str(bundle), tags={BUNDLE_TAG: str(bundle)})
    client.set_registered_model_alias("sample", "champion", "1")


def publish(machine: Machine, ids: tuple[str, ...] = SCENES, seed: int = 0) -> None:
    """Have scenes in the catalog, whose item tells as much as the maps need."""

    def body() -> None:
        catalog = settings().catalog / "sample"
        bring(catalog)
        for number, id in enumerate(ids):
            coarse = np.random.default_rng(seed + number).integers(300, 6000, (3, 19, 19), dtype=np.uint16)
            when = datetime(2024, 7, 1, tzinfo=UTC) + timedelta(days=number)
            scene = write_scene(catalog, coarse.repeat(8, axis=1).repeat(8, axis=2), id=id, bands=BANDS, when=when)
            write_item(catalog / "scenes" / id, scene, fingerprint=id, dated=True, bands=[{}, {}, {}])
        write_index(catalog, "sample")

    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.environment().items():
            patch.setenv(name, value)
        work("publish scenes", body)


def command(step: str) -> list[str]:
    noun, _, number = step.partition(" ")
    group = "map" if noun in ("plan", "shard") or step == "publish" else "drift"
    return [group, noun, "--run", "r1", *(["--shard", number] if number else [])]


def chain(turn: Callable[[str], Machine]) -> dict[str, dict[str, Any]]:
    return {step: turn(step).swath(*command(step)) for step in STEPS}


def content(found: dict[str, bytes]) -> dict[str, Any]:
    """Without times, and without where things lay on the machine that made them."""

    def told(key: str, body: bytes) -> Any:
        if key.endswith((".html", ".bin")) or "/staging/" in key:
            return None  # a report names its maker's folders; a profile is compared by what the watch says
        if not key.endswith(".json"):
            return body
        value = json.loads(body)
        for name in ("report", "at"):
            value.pop(name, None)
        value["links"] = [link for link in value.get("links", []) if link["rel"] != "derived_from"]
        for name in ("swath:processor", "processing:datetime", "swath:made"):
            value.get("properties", {}).pop(name, None)
        return value

    return {key: told(key, body) for key, body in found.items() if not key.startswith("catalog/")}


def test_two_machines_in_turn_make_the_maps_and_the_verdict_of_one(desk: Path, tmp_path: Path, store: str) -> None:
    single = Machine(tmp_path / "single", desk, None)
    publish(single)
    expected = chain(lambda _: single)
    assert expected["publish"]["mapped"] == 4 and expected["plan"]["shards"] == 2
    assert expected["decide"]["verdict"] == "drift" and expected["decide"]["retrain"]

    one, other, watch, source = (Machine(tmp_path / name, desk, store) for name in ("one", "other", "watch", "source"))
    publish(source)
    turns = dict(zip(STEPS, (watch, one, other, watch, watch, watch, watch, watch), strict=True))
    told = chain(turns.__getitem__)
    for step, hand in expected.items():
        assert {**hand, "seconds": 0, "report": ""} == {**told[step], "seconds": 0, "report": ""}, step
    assert told["decide"]["report"] == f"{store}/reports/sample/drift/r1/report.html"
    assert content(held(store)) == content(files(single.home))

    maps = {f"predictions/sample/v1/{id}/{name}.tif" for id in "ab" for name in ("classes", "confidence")}
    pixels = {f"catalog/sample/scenes/{id}/{name}.tif" for id in "ab" for name in ("image", "mask")}
    assert one.cached(".tif") == maps | pixels, "a shard needs its own scenes"
    explained = other.swath("explain", f"{store}/predictions/sample/v1/a/classes.tif")
    assert set(explained["files"].values()) == {"as made"} and explained["images"][0]["id"] == "a"
    assert explained["images"][0]["href"] == f"{store}/catalog/sample/scenes/a/a.json"
    assert explained["images"][0]["found"], "its pixels were brought and are those that were mapped"


class Killed(BaseException):
    """Stands for SIGKILL."""


@contextmanager
def killed_at(scene: str) -> Iterator[None]:
    """Ends the command within, as SIGKILL would, once a map of ``scene`` is to be sent."""
    put = Store.put

    def fatal(self: Store, source: Path, key: str) -> Any:
        if f"/v1/{scene}/" in key:
            raise Killed
        return put(self, source, key)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Store, "put", fatal)
        yield


def test_a_shard_killed_after_its_first_scene_goes_on_with_the_second_elsewhere(
    desk: Path, tmp_path: Path, store: str
) -> None:
    one, other = (Machine(tmp_path / name, desk, store) for name in ("one", "other"))
    publish(one)
    one.swath(*command("plan"))
    with killed_at("b"):
        one.swath(*command("shard 0"))
    first = held(store)["predictions/sample/v1/a/item.json"]
    assert "predictions/sample/v1/b/item.json" not in held(store)
    assert other.swath(*command("shard 0"))["mapped"] == 2
    assert held(store)["predictions/sample/v1/a/item.json"] == first, "it was not made again"

    publish(one, ("b",), seed=40)  # the scene comes anew, with other pixels
    one.swath("map", "plan", "--run", "r2")
    assert one.swath("map", "shard", "--run", "r2", "--shard", "0")["mapped"] == 2, "it and one that never was mapped"
    assert other.swath(*command("shard 0"))["mapped"] == 2, "and is known elsewhere to be mapped"


def test_a_scene_that_ends_each_process_keeps_no_other_from_being_mapped(
    desk: Path, tmp_path: Path, store: str
) -> None:
    one, other = (Machine(tmp_path / name, desk, store) for name in ("one", "other"))
    publish(one)
    one.swath(*command("plan"))
    for machine in (one, other):
        with killed_at("a"):
            machine.swath(*command("shard 0"))
    assert "predictions/sample/v1/b/item.json" in held(store), "the second attempt left the scene for the last"
    assert other.swath(*command("shard 0"))["mapped"] == 2
    assert not [key for key in held(store) if "/begun/" in key]
