"""Maps whose making was cut off: finished rows are kept, and the bytes are those of a run that never was."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pipelines.errors import SwathError
from pipelines.inference import predict as module
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_file
from pipelines.inference.writer import MapWriter
from pipelines.monitoring.profile import SceneProfile
from tests.bundle.trained import BANDS, CLASSES, ROOT
from tests.inference.maps import TILING, contents, scene_raster

pytestmark = pytest.mark.slow


class Counted:
    """A runtime that counts windows."""

    def __init__(self, runtime):
        self._runtime, self.windows = runtime, 0

    def __call__(self, pixels):
        self.windows += len(pixels)
        return self._runtime(pixels)

    def __getattr__(self, name):
        return getattr(self._runtime, name)


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.bundle.store import open_bundle
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_file
from pipelines.inference.runtime import Runtime


class Dying(Runtime):
    windows = 0
    def __call__(self, pixels):
        self.windows += len(pixels)
        if self.windows > 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(pixels)

folder, bundle = Path(sys.argv[1]), open_bundle(sys.argv[2])
raster = of_file(folder / "in_N0208_R1.tif", bundle.contract)
predict(raster, bundle, Dying(bundle, threads=1), folder / "out", Tiling(64, 16, 4, 16 * 10**9))
"""


def test_a_killed_run_goes_on_from_its_rows_to_the_same_bytes(tmp_path, bundle, runtime):
    scene, _, _ = scene_raster(tmp_path, bundle)
    (tmp_path / "in_N0208_R1.tif").write_bytes(scene.image_path(tmp_path).read_bytes())
    raster = of_file(tmp_path / "in_N0208_R1.tif", bundle.contract)
    at_once = Counted(runtime)
    predict(raster, bundle, at_once, tmp_path / "whole" / "out", TILING)

    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, bundle.folder], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    rest = Counted(runtime)
    predict(raster, bundle, rest, tmp_path / "out", TILING)
    assert 0 < rest.windows < at_once.windows - 4, "it started over"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole" / "out")
    assert not list(tmp_path.glob(".out*"))


# before and after the rows are on disk
@pytest.mark.parametrize(("owner", "moment"), [(MapWriter, "write"), (module, "report")])
def test_a_killed_raster_goes_on_with_its_rows_and_its_profile(tmp_path, bundle, runtime, monkeypatch, owner, moment):
    scene, raster, _ = scene_raster(tmp_path, bundle)

    def profile():
        return SceneProfile(BANDS, CLASSES, 500, (scene.height, scene.width), scene)

    at_once, rest = Counted(runtime), Counted(runtime)
    predict(raster, bundle, at_once, tmp_path / "whole", TILING, recorder=profile())
    calls = iter(range(100))
    real = getattr(owner, moment)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(owner, moment, lambda *a: 1 // 0 if next(calls) == 3 else real(*a))
        predict(raster, bundle, runtime, tmp_path / "out", TILING, recorder=profile())
    predict(raster, bundle, rest, tmp_path / "out", TILING, recorder=profile())
    assert 0 < rest.windows < at_once.windows - 4, "it started over"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert (tmp_path / "out" / "profile.bin").stat().st_size > 100


def test_what_a_kill_left_of_a_finished_map_is_not_taken_for_finished_rows(tmp_path, bundle, runtime, monkeypatch):
    _, raster, _ = scene_raster(tmp_path, bundle)
    real = module.shutil.rmtree
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):  # dies when the work folder shall go
        patched.setattr(module.shutil, "rmtree", lambda path, **how: real(path, **how) if how else 1 // 0)
        predict(raster, bundle, runtime, tmp_path / "out", TILING)
    (tmp_path / ".out.work" / "classes.tif").unlink()
    predict(raster, bundle, runtime, tmp_path / "out", TILING)
    assert not list(tmp_path.glob(".out*"))


def test_rows_finished_with_other_settings_are_not_used(tmp_path, bundle, runtime, monkeypatch):
    _, raster, _ = scene_raster(tmp_path, bundle)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(module, "report", lambda *_: 1 // 0)
        predict(raster, bundle, runtime, tmp_path / "out", Tiling(96, 32, 4, TILING.max_memory))
    assert (tmp_path / ".out.work" / "journal.json").exists()
    counted, fresh = Counted(runtime), Counted(runtime)
    predict(raster, bundle, counted, tmp_path / "out", TILING)
    predict(raster, bundle, fresh, tmp_path / "fresh", TILING)
    assert counted.windows == fresh.windows
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_rows_are_of_these_bytes_this_radiometry_and_this_model(tmp_path, bundle, runtime):
    _, raster, _ = scene_raster(tmp_path, bundle)
    own = module._key(raster, runtime, TILING, 4, ())
    assert own == module._key(dataclasses.replace(raster), runtime, TILING, 4, ())
    others = [{"sha256": "0"}, {"mask_sha256": "0"}, {"nodata": 7}]
    others += [{name: tuple(value + 1 for value in getattr(raster, name))} for name in ("scale", "offset", "indexes")]
    keys = {module._key(dataclasses.replace(raster, **change), runtime, TILING, 4, ()) for change in others}
    keys.add(module._key(raster, SimpleNamespace(digest="0", engine=runtime.engine), TILING, 4, ()))
    assert own not in keys and len(keys) == 7


def test_two_processes_do_not_write_one_target(tmp_path, bundle, runtime):
    _, raster, _ = scene_raster(tmp_path, bundle)
    with module.alone_at(tmp_path / "out"), pytest.raises(SwathError, match="Another process"):
        predict(raster, bundle, runtime, tmp_path / "out", TILING)


def test_a_map_without_overlap_that_was_all_but_finished_is_finished(tmp_path, bundle, runtime, monkeypatch):
    _, raster, _ = scene_raster(tmp_path, bundle)
    apart = Tiling(64, 0, 4, TILING.max_memory)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):  # dies when all rows are there
        patched.setattr(MapWriter, "finish", lambda *a: 1 // 0)
        predict(raster, bundle, runtime, tmp_path / "out", apart)
    predict(raster, bundle, runtime, tmp_path / "out", apart)
    predict(raster, bundle, runtime, tmp_path / "whole", apart)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
