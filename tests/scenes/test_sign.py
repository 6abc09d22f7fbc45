"""Files that are read by addresses which a service signs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import planetary_computer.sas
import pytest

from pipelines.errors import BadData, SwathError
from pipelines.scenes import egress
from pipelines.scenes.dates import Dates
from pipelines.scenes.fetch import fetch
from pipelines.scenes.search import search
from tests.scenes.servers import azure
from tests.scenes.sources import item, params, write_catalog, write_scene_files

STORE = "http://account.blob.core.windows.net"


@pytest.fixture(autouse=True)
def nothing_of_another_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(planetary_computer.sas, "TOKEN_CACHE", {})
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    egress.proxy.cache_clear()  # the environment had no proxy then
    yield
    egress.proxy.cache_clear()


@contextmanager
def led_to_azure(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    with azure(folder) as (environment, asked):
        for name, value in environment.items():
            patch.setenv(name, value)
        yield asked


def catalog(folder: Path, store: str) -> Path:
    files = write_scene_files(folder / "files", offset=-1000)
    return write_catalog(folder, [item("s", {band: f"{store}/files/{path.name}" for band, path in files.items()})])


def test_a_scene_is_fetched_by_signed_addresses_which_are_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = catalog(tmp_path, f"{STORE}/container")
    with led_to_azure(tmp_path, monkeypatch) as asked:
        scenes = params(source, sign="planetary-computer")
        (candidate,), refused = search(scenes, None, Dates(None, None))
        scene = fetch(candidate, scenes, None, tmp_path / "staging")
        assert not refused and [band.offset for band in scene.bands] == [-0.1] * 3
        assert sum("/sas/" in each for each in asked) == 1  # one token serves a container
        with pytest.raises(SwathError, match="try again"):
            fetch(candidate, params(source), None, tmp_path / "unsigned")
    written = [path.read_text() for path in (tmp_path / "staging").rglob("*.json")]
    assert written and "secret" not in "".join(written) + caplog.text + candidate.model_dump_json()


def test_a_container_that_is_not_of_the_catalog_is_told_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = catalog(tmp_path, f"{STORE}/elsewhere")
    with led_to_azure(tmp_path, monkeypatch):
        scenes = params(source, sign="planetary-computer")
        (candidate,), _ = search(scenes, None, Dates(None, None))
        with pytest.raises(SwathError, match=r"no token for .*elsewhere/files/B02\.tif \(404\)") as caught:
            fetch(candidate, scenes, None, tmp_path / "staging")
    assert not isinstance(caught.value, BadData)
