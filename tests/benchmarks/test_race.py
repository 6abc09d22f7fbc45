from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from benchmarks.inference import PEERS, PLAIN, Maps, ours, told
from benchmarks.peers import IMAGE
from benchmarks.peers.environment import Environment, Unavailable
from benchmarks.peers.mapping.work import make_work
from benchmarks.peers.race import Contender, race, table
from benchmarks.peers.scene import make_scene
from pipelines.dataset.shards import ChipStore

DECODE = Contender("decode", "chipping.decode", needed=True)
WINDOWS = Contender("windows", "chipping.windows", needed=True)
OURS = Contender("ours", "chipping.ours", needed=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scene")
    make_scene(made, 512)
    return made


def test_each_runs_once_a_round_in_turn_and_what_it_made_can_be_seen(folder: Path) -> None:
    seen: dict[str, list[str]] = {}

    def look(name: str, out: Path) -> None:
        seen[name] = sorted(path.name for path in out.iterdir())
        if name == "decode":
            return
        with rasterio.open(folder / IMAGE) as source:
            whole = source.read()
        if name == "windows":
            assert np.array_equal(np.load(out / "image-256-0.npy"), whole[:, 256:, :256])
        else:
            images = ChipStore(out / "chips").gather(np.arange(4))[0]
            assert images.sum(dtype=np.int64) == whole.sum(dtype=np.int64)

    result = race([DECODE, WINDOWS, OURS], folder, 2, install=False, look=look)
    assert {name: len(runs) for name, runs in result.runs.items()} == {"decode": 2, "windows": 2, "ours": 2}
    assert seen["decode"] == []
    assert len(seen["windows"]) == 2 * 4  # images and labels of four chips
    assert not list(folder.glob("tmp*"))
    for runs in result.runs.values():
        assert all(0 < run.seconds < run.whole and 20 < run.megabytes < 4000 for run in runs)
    assert result.best("decode").seconds == min(run.seconds for run in result.runs["decode"])


def test_what_cannot_run_is_named_with_the_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    peers = [
        Contender("peer", "chipping.decode", environment=Environment("peer", ("numpy",))),
        Contender("gdal", "chipping.nothing_of_that_name"),
        DECODE,
    ]
    result = race(peers, folder, 1, install=False)
    assert set(result.runs) == {"decode"}
    assert "--install makes it" in result.missing["peer"]
    assert "nothing_of_that_name" in result.missing["gdal"]
    with pytest.raises(Unavailable, match="nothing_of_that_name"):
        race([Contender("ours", "chipping.nothing_of_that_name", needed=True)], folder, 1, install=False)


@pytest.mark.slow
def test_ours_and_a_plain_loop_make_the_same_map(tmp_path: Path) -> None:
    make_work(tmp_path, 512)
    maps = Maps()
    command = Contender("command", "mapping.command", needed=True)
    result = race([PEERS[0], *ours(256, 64), command], tmp_path, 1, install=False, look=maps)
    assert maps.same[PLAIN] == 1
    assert maps.same["ours 256 px f32"] == maps.same["command"] > 0.6  # its windows overlap, and the network sees far
    assert maps.same["ours 256 px bf16"] == pytest.approx(maps.same["command"], abs=0.02)
    figures = told(result, maps, 512, [256])["figures"]
    best = min(result.best(f"passes 256 px {name}").seconds for name in ("openvino", "onnxruntime"))
    assert figures["ours 256 px f32"]["of the passes"] == pytest.approx(
        result.best("ours 256 px f32").seconds / best, abs=1e-3
    )


def test_a_table_has_columns_under_their_heads() -> None:
    assert table([("ours", 1.5), ("a longer name", 12)], ("", "seconds")).splitlines() == [
        "               seconds",
        "ours               1.5",
        "a longer name       12",
    ]
