from __future__ import annotations

import pickle
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from pipelines.dataset import chips as chips_module
from pipelines.dataset.chips import cut_chips
from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.snapshot import Manifest
from pipelines.errors import BadData
from pipelines.files import write_json
from pipelines.labels import burn
from tests.builders import UTM_21S, write_scene
from tests.dataset.conftest import Town
from tests.dataset.town import HERE


@pytest.fixture(scope="module")
def store(town: Town) -> ChipStore:
    return ChipStore(town.data / "chips")


def digests(folder: Path) -> dict[str, str]:
    return {f.name: sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


def test_chips_are_the_pixels_masks_and_labels_of_their_windows(town: Town, store: ChipStore) -> None:
    rows = np.random.default_rng(0).permutation(len(store))  # any order, over several shards
    images, labels, masks = store.gather(rows)
    assert images.dtype == np.uint16 and store.index["shard"].nunique() > 1
    whole = {}
    for scene in town.manifest.scenes:
        with rasterio.open(scene.image_path(town.catalog)) as image, rasterio.open(scene.mask_path(town.catalog)) as m:
            whole[scene.id] = image.read(), m.read(1), burn(scene, town.data / "labels", town.params.labels)
    for i, row in enumerate(rows):
        chip = store.index.loc[row]
        here = np.s_[chip["row"] : chip["row"] + 32, chip["col"] : chip["col"] + 32]
        pixels, bits, classes = (part[..., here[0], here[1]] for part in whole[chip["scene_id"]])
        assert np.array_equal(images[i], pixels)
        assert np.array_equal(masks[i], bits | np.where(classes == 255, 8, 0))
        assert np.array_equal(labels[i], np.where(masks[i] != 0, 255, classes))


def test_the_index_describes_each_chip(town: Town, store: ChipStore) -> None:
    images, labels, masks = store.gather(np.arange(len(store)))
    values = physical(images, store.scale, store.offset)
    index = store.index
    assert index["valid"].to_numpy() == pytest.approx((labels != 255).mean(axis=(1, 2)))
    for i, name in enumerate(store.classes):
        assert np.array_equal(index[f"pixels_{name}"], (labels == i).sum(axis=(1, 2)))
    for i, band in enumerate(store.bands):
        expected = [values[n, i][masks[n] == 0].mean() for n in range(len(index))]
        assert index[f"mean_{band}"].to_numpy() == pytest.approx(np.array(expected), rel=1e-5)
    later = index["scene_id"] == "here-b"
    assert store.offset[later.to_numpy()] == pytest.approx(-0.1)  # each scene has its own radiometry
    assert set(index[later]["season"]) == {"summer"} and set(index["zone"]) == {"21S"}
    order = index["split"].map({"train": 0, "val": 1, "test": 2})
    assert list(zip(order, index["scene_id"], index["row"], index["col"], strict=True)) == sorted(
        zip(order, index["scene_id"], index["row"], index["col"], strict=True)
    )


def test_cutting_twice_gives_the_same_bytes(town: Town, tmp_path: Path) -> None:
    cut_chips(town.plan, town.manifest, town.catalog, town.data / "labels", town.params, tmp_path / "chips")
    assert digests(tmp_path / "chips") == digests(town.data / "chips")


def test_a_scene_too_wide_for_memory_is_cut_in_columns_to_the_same_bytes(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chips_module, "_STRIP", 100 * 300 * 6)  # columns of about 100 pixels, of 512
    cut_chips(town.plan, town.manifest, town.catalog, town.data / "labels", town.params, tmp_path / "chips")
    assert digests(tmp_path / "chips") == digests(town.data / "chips")


CUT = """
import sys
from pathlib import Path
import geopandas as gpd
from pipelines.dataset.chips import cut_chips
from pipelines.dataset.snapshot import read_manifest
from tests.dataset.town import params

folder = Path(sys.argv[1])
values = params(folder / "parcels.gpkg", chips={"size": 256, "stride": 256, "keep_empty": 1.0, "min_valid": 0.0})
plan, manifest = gpd.read_parquet(folder / "plan.parquet"), read_manifest(folder / "manifest.json")
cut_chips(plan, manifest, folder, folder / "parcels.gpkg", values, folder / "chips")
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_height_of_a_scene(tmp_path: Path) -> None:
    def peak(height: int) -> float:
        """Megabytes of a process of its own that cuts a scene of that height."""
        folder = tmp_path / str(height)
        scene = write_scene(folder, np.ones((4, height, 1024), np.uint16), origin=HERE)
        manifest = Manifest(
            project="tall", bands=[b.name for b in scene.bands], dtype="uint16", scenes=[scene], labels=[]
        )
        write_json(folder / "manifest.json", manifest.model_dump(mode="json"))
        ground = box(HERE[0], HERE[1] - 10 * height, HERE[0] + 10 * 1024, HERE[1])
        gpd.GeoDataFrame({"class": ["water"]}, geometry=[ground], crs=UTM_21S).to_file(folder / "parcels.gpkg")
        places = [(row, column) for row in range(0, height, 256) for column in range(0, 1024, 256)]
        plan = {"chip_id": [f"{r}-{c}" for r, c in places], "scene_id": scene.id, "split": "train", "size": 256}
        plan |= {"row": [r for r, _ in places], "col": [c for _, c in places]}
        geometry = [box(0, 0, 1, 1)] * len(places)
        gpd.GeoDataFrame(plan, geometry=geometry, crs="EPSG:4326").to_parquet(folder / "plan.parquet")
        ran = subprocess.run([sys.executable, "-c", CUT, str(folder)], check=True, capture_output=True, text=True)
        return int(ran.stdout) * 1024 / 1e6

    assert peak(24_576) < peak(8192) + 40  # twice a full cache of blocks, and 134 MB of pixels more


def test_keep_empty_leaves_out_chips_of_one_class_from_train_alone(town: Town, tmp_path: Path) -> None:
    def cut(share: float) -> dict[str, int]:
        chips = town.params.chips.model_copy(update={"keep_empty": share})
        values = town.params.model_copy(update={"chips": chips})
        index = cut_chips(town.plan, town.manifest, town.catalog, town.data / "labels", values, tmp_path / "chips")
        one_class = (index[[c for c in index if c.startswith("pixels_")]] > 0).sum(axis=1) == 1
        return {
            "train": int((one_class & (index["split"] == "train")).sum()),
            "rest": int((one_class & (index["split"] != "train")).sum()),
        }

    everything, half, nothing = cut(1.0), cut(0.5), cut(0.0)
    assert everything["train"] > half["train"] > nothing["train"] == 0
    assert everything["rest"] == nothing["rest"]


def test_a_scene_that_changed_since_the_snapshot_is_refused(town: Town, tmp_path: Path) -> None:
    changed = write_scene(tmp_path, np.ones((2, 512, 512), np.uint16), id="here-a", origin=HERE)
    assert changed.image_sha256 != town.manifest.scene("here-a").image_sha256
    only = town.plan[town.plan["scene_id"] == "here-a"]
    with pytest.raises(BadData, match="has changed"):
        cut_chips(only, town.manifest, tmp_path, town.data / "labels", town.params, tmp_path / "chips")


def test_a_block_that_cannot_be_read_fails_and_leaves_the_former_chips(town: Town, tmp_path: Path) -> None:
    random = np.random.default_rng(5).integers(1, 3000, (2, 512, 512)).astype(np.uint16)
    scene = write_scene(tmp_path, random, id="here-a", origin=HERE)
    path = scene.image_path(tmp_path)
    spoiled = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(spoiled)
    scene = scene.model_copy(update={"image_sha256": sha256(spoiled).hexdigest()})
    manifest = town.manifest.model_copy(update={"scenes": (scene,)})
    only = town.plan[town.plan["scene_id"] == "here-a"]
    target = tmp_path / "chips"
    target.mkdir()
    (target / "former").write_text("former")
    with pytest.raises(BadData, match="here-a cannot be read"):
        cut_chips(only, manifest, tmp_path, town.data / "labels", town.params, target)
    assert [p.name for p in target.iterdir()] == ["former"]


def test_numbers_that_are_none_in_usable_pixels_are_refused(town: Town, tmp_path: Path) -> None:
    pixels = np.ones((2, 512, 512), np.float32)
    pixels[1] = np.nan
    scene = write_scene(tmp_path, pixels, id="here-a", origin=HERE)
    manifest = town.manifest.model_copy(update={"scenes": (scene,), "dtype": "float32"})
    only = town.plan[town.plan["scene_id"] == "here-a"]
    with pytest.raises(BadData, match="not numbers"):
        cut_chips(only, manifest, tmp_path, town.data / "labels", town.params, tmp_path / "chips")


def test_a_store_travels_to_another_process_without_its_pixels(store: ChipStore) -> None:
    store.gather(np.arange(3))
    sent = pickle.dumps(store)
    assert len(sent) < sum(f.stat().st_size for f in store.folder.glob("*.npy")) / 4
    assert np.array_equal(pickle.loads(sent).gather(np.array([5]))[0], store.gather(np.array([5]))[0])


def test_a_folder_without_chips_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="swath chip"):
        ChipStore(tmp_path)
