"""Mapping the catalog: what is pending, one bad scene among good ones, and the catalog of maps."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from typer.testing import CliRunner

from pipelines.bundle.store import open_bundle
from pipelines.cli.main import commands
from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.inference.plan import (
    map_shard,
    one_by_one,
    pending,
    publish,
    read_plan,
    staging,
    write_catalog,
    write_plan,
)
from pipelines.inference.runtime import Runtime
from pipelines.monitoring.profile import SceneProfile
from pipelines.scenes.scene import Scene
from tests.builders import write_scene
from tests.bundle.trained import BANDS, CLASSES, bundle_folder

pytestmark = pytest.mark.slow
MEMORY = 16 * 10**9


@pytest.fixture(scope="module")
def bundle():
    return dataclasses.replace(open_bundle(bundle_folder()), uri="models:/sample/3", version=3)


def scene(catalog: Path, id: str, seed: int = 0, fill: int | None = None, **how) -> Scene:
    pixels = np.random.default_rng(seed).integers(300, 6000, (3, 40, 50), dtype=np.uint16)
    if fill is not None:
        pixels[:, 20, 20] = fill
    return write_scene(catalog, pixels, id=id, **{"bands": BANDS} | how)


def mapped(folder, run, scenes, bundle, shard=2):
    plan = write_plan(folder / "maps", run, 3, "models:/sample/3", bundle.digest, scenes, shard)
    by_id = {s.id: s for s in scenes}
    for number, ids in enumerate(plan.shards):
        map_shard(folder / "maps", run, number, [by_id[id] for id in ids], folder, bundle, MEMORY)
    return plan, publish(folder / "maps", "sample", run)


def test_what_is_mapped_is_not_mapped_again_until_its_pixels_change(tmp_path, bundle):
    scenes = [scene(tmp_path, id, seed) for seed, id in enumerate("abc")]
    plan, said = mapped(tmp_path, "first", scenes, bundle)
    assert plan.shards == (("a", "b"), ("c",))
    assert (said["mapped"], said["failed"], said["total"], said["changed"]) == (3, 0, 3, True)
    plan, said = mapped(tmp_path, "second", scenes, bundle)
    assert plan.todo == 0
    assert (said["mapped"], said["total"], said["changed"]) == (0, 3, False)
    scenes[1] = scene(tmp_path, "b", 7)
    plan, said = mapped(tmp_path, "third", scenes, bundle)
    assert plan.shards == (("b",),)
    assert (said["mapped"], said["total"], said["changed"]) == (1, 3, True)


def test_a_scene_with_another_mask_is_mapped_again(tmp_path, bundle):
    seen = scene(tmp_path, "a")
    mapped(tmp_path, "first", [seen], bundle)
    masked = seen.model_copy(update={"mask_sha256": "0" * 64})
    assert pending([seen], tmp_path / "maps" / "v3", bundle.digest) == []
    assert pending([masked], tmp_path / "maps" / "v3", bundle.digest) == ["a"]


def test_a_bad_scene_is_recorded_with_its_reason_and_the_rest_goes_on(tmp_path, bundle):
    scenes = [scene(tmp_path, "a"), scene(tmp_path, "coarse", pixel=60.0), scene(tmp_path, "z")]
    plan, said = mapped(tmp_path, "first", scenes, bundle, shard=5)
    assert (said["mapped"], said["failed"], said["total"]) == (2, 1, 2)
    note = read_json(tmp_path / "maps" / "v3" / "failed" / "coarse.json")
    assert "resample" in note["reason"]
    plan, _ = mapped(tmp_path, "second", scenes, bundle)
    assert plan.todo == 0, "the same bytes fail in the same way"
    scenes[1] = scene(tmp_path, "coarse")
    _, said = mapped(tmp_path, "third", scenes, bundle)
    assert (said["mapped"], said["total"]) == (1, 3)
    assert not (tmp_path / "maps" / "v3" / "failed" / "coarse.json").exists()


def test_a_scene_that_the_model_has_no_answer_to_withholds_no_other(tmp_path, bundle, monkeypatch):
    """As values at which a network overflows: each try would end in the same way."""
    scenes = [scene(tmp_path, "a"), scene(tmp_path, "strange", fill=60_000), scene(tmp_path, "z")]
    answer = Runtime.__call__

    def overflowing(self, pixels):
        return np.where(pixels[:, :1] > 5, np.float32(np.nan), answer(self, pixels))

    monkeypatch.setattr(Runtime, "__call__", overflowing)
    _, said = mapped(tmp_path, "first", scenes, bundle, shard=5)
    assert (said["mapped"], said["failed"]) == (2, 1)
    told = read_json(staging(tmp_path / "maps", "first") / "shard-0.json")["failed"]
    assert [(one["scene"], "not finite" in one["reason"]) for one in told] == [("strange", True)]


def test_what_only_looks_like_the_maps_of_a_version_is_left_out_of_the_catalog(tmp_path, bundle):
    mapped(tmp_path, "first", [scene(tmp_path, "a")], bundle)
    shutil.copytree(tmp_path / "maps" / "v3", tmp_path / "maps" / "v3.bak")
    assert write_catalog(tmp_path / "maps", "sample") == 1
    assert "v3.bak" not in (tmp_path / "maps" / "catalog.json").read_text()


def test_a_scene_whose_bytes_changed_behind_the_catalog_fails(tmp_path, bundle):
    scenes = [scene(tmp_path, "a")]
    with scenes[0].image_path(tmp_path).open("ab") as image:
        image.write(b"x")
    _, said = mapped(tmp_path, "run", scenes, bundle)
    assert (said["mapped"], said["failed"]) == (0, 1)
    scene(tmp_path, "a")  # restored
    _, said = mapped(tmp_path, "again", scenes, bundle)
    assert (said["mapped"], said["failed"]) == (1, 0)


def test_a_shard_whose_process_ends_withholds_no_other_map_and_no_other_scene_twice(tmp_path, bundle):
    scenes = [scene(tmp_path, id, seed) for seed, id in enumerate("abcd")]
    maps, by_id = tmp_path / "maps", {s.id: s for s in scenes}
    plan = write_plan(maps, "run", 3, "models:/sample/3", bundle.digest, scenes, 3)

    ill = {"b"}

    def recorder(one, contract):
        if one.id in ill:
            raise KeyboardInterrupt  # as a kill would end it, but for this test
        return SceneProfile(contract.band_names, ["x"] * len(contract.classes), 64, (one.height, one.width), one)

    def attempt(number):
        ids = one_by_one(maps, "run", plan.shards[number], lambda: None)
        return map_shard(maps, "run", number, (by_id[id] for id in ids), tmp_path, bundle, MEMORY, recorder=recorder)

    attempt(1)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            attempt(0)
    said = publish(maps, "sample", "run")
    assert (said["mapped"], said["unfinished"], said["total"], said["changed"]) == (1, 1, 3, True)
    assert pending(scenes, maps / "v3", bundle.digest) == ["b"]
    assert publish(maps, "sample", "run")["total"] == 3
    ill.clear()
    assert attempt(0).mapped == ("a", "b", "c"), "a scene that was mapped last is told of as if no attempt had ended"


def test_too_little_memory_is_no_lasting_fault(tmp_path, bundle):
    scenes = [scene(tmp_path, "a")]
    plan = write_plan(tmp_path / "maps", "small", 3, "models:/sample/3", bundle.digest, scenes, 1)
    result = map_shard(tmp_path / "maps", "small", 0, scenes, tmp_path, bundle, 10**6)
    assert plan.todo == 1 and "raise" in result.failed[0].reason
    _, said = mapped(tmp_path, "enough", scenes, bundle)
    assert (said["mapped"], said["failed"]) == (1, 0)


def test_a_model_that_bears_the_number_of_another_maps_and_fails_for_itself(tmp_path, bundle):
    """As after a registry that began anew: what version 3 of before mapped is no map of the one of now."""
    mapped(tmp_path, "before", [scene(tmp_path, "coarse")], bundle)
    scenes = [scene(tmp_path, "a"), scene(tmp_path, "coarse", pixel=60.0)]
    mapped(tmp_path, "first", scenes, bundle, shard=5)
    assert not (tmp_path / "maps" / "v3" / "coarse").exists(), "the map is of pixels that are no more"
    shutil.copytree(bundle.folder, tmp_path / "another")
    contract = read_json(tmp_path / "another" / "bundle.json")
    write_json(tmp_path / "another" / "bundle.json", contract | {"project": "another"})
    other = dataclasses.replace(bundle, folder=tmp_path / "another")
    plan, said = mapped(tmp_path, "second", scenes, other, shard=5)
    assert plan.shards == (("a", "coarse"),)
    assert (said["mapped"], said["failed"]) == (1, 1)
    item = read_json(tmp_path / "maps" / "v3" / "a" / "item.json")
    assert item["properties"]["swath:model_sha256"] == other.digest
    assert mapped(tmp_path, "third", scenes, other)[0].todo == 0


def test_more_scenes_than_airflow_maps_tasks_make_larger_shards(tmp_path):
    one = scene(tmp_path, "a")
    scenes = [one.model_copy(update={"id": f"s{number:04d}"}) for number in range(2_500)]
    plan = write_plan(tmp_path / "maps", "run", 3, "models:/sample/3", "a digest", scenes, shard=1)
    assert len(plan.shards) <= 1_024
    assert [id for shard in plan.shards for id in shard] == [s.id for s in scenes]


def test_what_is_asked_for_later_is_made_for_scenes_that_are_mapped_already(tmp_path, bundle):
    scenes = [scene(tmp_path, "a")]
    mapped(tmp_path, "first", scenes, bundle)
    folder = tmp_path / "maps"
    asked = {"also": ["probabilities", "polygons"], "simplify": 1.0}
    plan = write_plan(folder, "second", 3, "models:/sample/3", bundle.digest, scenes, 1, **asked)
    assert plan.todo == 1
    map_shard(folder, "second", 0, scenes, tmp_path, bundle, MEMORY, **asked)
    assert (folder / "v3" / "a" / "probabilities.tif").exists()
    assert write_plan(folder, "third", 3, "models:/sample/3", bundle.digest, scenes, 1, **asked).todo == 0
    assert write_plan(folder, "fourth", 3, "models:/sample/3", bundle.digest, scenes, 1).todo == 0, (
        "more than asked for will do"
    )
    assert (
        write_plan(folder, "fifth", 3, "models:/sample/3", bundle.digest, scenes, 1, **asked | {"simplify": 2.0}).todo
        == 1
    )


def test_the_catalog_of_maps_can_be_walked(tmp_path, bundle):
    mapped(tmp_path, "run", [scene(tmp_path, id) for id in "ab"], bundle)
    catalog = pystac.Catalog.from_file(tmp_path / "maps" / "catalog.json")
    items = list(catalog.get_items(recursive=True))
    assert sorted(item.id for item in items) == ["a", "b"]
    for item in items:
        with rasterio.open(item.assets["classes"].get_absolute_href()) as made:
            assert made.shape == (40, 50)


def test_run_ids_never_leave_the_staging_folder(tmp_path):
    assert staging(tmp_path, "../../etc").parent == tmp_path / "staging"
    assert staging(tmp_path, "manual__2024-01-01T00:00:00+00:00").parent == tmp_path / "staging"
    with pytest.raises(BadData):
        staging(tmp_path, "..")
    with pytest.raises(BadData, match="has no plan"):
        read_plan(tmp_path, "never")


def test_predict_command_maps_any_geotiff_and_goes_on_after_a_bad_one(tmp_path):
    good = scene(tmp_path, "good").image_path(tmp_path).rename(tmp_path / "good_N0208_R1.tif")
    (tmp_path / "bad.tif").write_text("no raster")
    arguments = ["predict", str(bundle_folder()), str(tmp_path / "bad.tif"), str(good), "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(commands(), [*arguments, "--max-memory", "16GB"])
    assert isinstance(ran.exception, BadData) and "cannot be opened" in str(ran.exception)
    said = json.loads(ran.stdout.strip().splitlines()[-1])
    assert said["mapped"] == [str(tmp_path / "out" / "good_N0208_R1")]
    with rasterio.open(tmp_path / "out" / "good_N0208_R1" / "classes.tif") as made:
        assert json.loads(made.tags(1)["classes"])["2"] == CLASSES[2]


def test_rasters_of_one_name_are_refused(tmp_path):
    arguments = ["predict", str(bundle_folder()), "a/x.tif", "b/x.tif", "--out", str(tmp_path)]
    assert isinstance(CliRunner().invoke(commands(), arguments).exception, BadData)
