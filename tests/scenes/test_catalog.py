"""The catalog as a list that is read one scene after another."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import BadData
from pipelines.scenes.candidate import digest
from pipelines.scenes.catalog import item_path, read_scenes, state, write_index, write_item
from pipelines.scenes.scene import Scene
from tests.builders import write_scene


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    for id in ("b.2", "a", "b.10", "c"):
        scene = write_scene(tmp_path, np.ones((1, 16, 16), np.uint16), id=id)
        write_item(tmp_path / "scenes" / id, scene, fingerprint=id, dated=True, bands=[])
    return tmp_path


def test_the_list_is_that_of_the_index_and_can_be_read_again(catalog: Path) -> None:
    assert len(read_scenes(catalog)) == 0 and not list(read_scenes(catalog))
    count, now, _ = write_index(catalog, "sample")
    listed = read_scenes(catalog)
    assert [scene.id for scene in listed] == ["a", "b.10", "b.2", "c"] == [scene.id for scene in listed]
    assert len(listed) == count == 4 and now == state(listed)
    told = [[s.id, s.image_sha256, s.mask_sha256, s.model_dump(mode="json")["bands"]] for s in listed]
    assert now == digest(told)  # as catalogs from before it was added up scene by scene
    assert state([]) == digest([])


def test_no_more_than_a_scene_or_two_are_in_memory_while_the_catalog_is_read(catalog: Path) -> None:
    write_index(catalog, "sample")
    gc.collect()
    before = _held()
    most = max(_held() - before for _ in read_scenes(catalog))
    assert most <= 2
    seen: list[int] = []

    def watched() -> object:
        for scene in read_scenes(catalog):
            seen.append(_held() - before)
            yield scene

    state(watched())  # type: ignore[arg-type]
    assert max(seen) <= 2


def test_a_damaged_item_is_named_and_left_out_of_the_index(catalog: Path) -> None:
    write_index(catalog, "sample")
    item_path(catalog, "b.2").write_text(json.dumps({"properties": {}}))
    with pytest.raises(BadData, match=r"b\.2\.json is no item.*ingest the scene again"):
        list(read_scenes(catalog))
    count, _, damaged = write_index(catalog, "sample")
    listed = [link["title"] for link in json.loads((catalog / "catalog.json").read_text())["links"] if "title" in link]
    assert "b.2" not in listed and count == len(listed) > 0
    assert [path.stem for path in damaged] == ["b.2"] and "ingest the scene again" in damaged[item_path(catalog, "b.2")]


def _held() -> int:
    return sum(isinstance(each, Scene) for each in gc.get_objects())
