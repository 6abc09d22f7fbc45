"""A prefix of a real S3 server as the source: listed, fetched in part, and told apart from a store that fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import s3fs

from pipelines.errors import SwathError
from pipelines.scenes.dates import Dates
from pipelines.scenes.fetch import fetch
from pipelines.scenes.search import search
from tests.scenes.servers import s3
from tests.scenes.sources import ORIGIN, params, reflectances, write_band

NOW = Dates(first=None, last=None)
PLAIN = {"assets": [], "bands": ["B02"], "cloud_mask": {"asset": None}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture(autouse=True)
def environment(store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.items():
        monkeypatch.setenv(name, value)


def put(address: str, file: Path) -> None:
    objects = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"], skip_instance_cache=True)
    objects.mkdirs(address.split("/")[0], exist_ok=True)
    objects.put(str(file), address)


def test_geotiffs_of_a_prefix_are_taken_and_others_left(tmp_path: Path) -> None:
    dn = np.round(reflectances()[0] * 10_000 + 1000).astype(np.uint16)
    image = write_band(tmp_path / "a.tif", dn)
    for name in ("2024/july/S2A_N0509_a.tif", "2024/notes.txt", "2023/S2A_N0509_b.tif"):
        put(f"imagery/{name}", image)
    scenes = params("s3://imagery/2024", **PLAIN)
    [found], refused = search(scenes, None, NOW)
    assert (found.id, found.source, refused) == ("S2A_N0509_a", "s3://imagery/2024/july/S2A_N0509_a.tif", [])
    scene = fetch(found, scenes, None, tmp_path / "staging")
    with rasterio.open(scene.image_path(tmp_path / "staging")) as made:
        np.testing.assert_array_equal(made.read(1), dn)
        assert (made.transform.c, made.transform.f) == ORIGIN


def test_an_object_written_anew_is_fetched_anew(tmp_path: Path) -> None:
    dn = np.full((64, 64), 2000, np.uint16)
    put("changing/a.tif", write_band(tmp_path / "a.tif", dn))
    scenes = params("s3://changing", **PLAIN)
    former, same = (search(scenes, None, NOW)[0][0].fingerprint for _ in range(2))
    put("changing/a.tif", write_band(tmp_path / "a.tif", dn + 1))
    assert former == same != search(scenes, None, NOW)[0][0].fingerprint


def test_wrong_keys_are_no_empty_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(SwathError, match="could not be listed"):
        search(params("s3://imagery", **PLAIN), None, NOW)
