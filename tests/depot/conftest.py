"""A real S3 server for all tests of the depot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.depot.machines import client
from tests.scenes.servers import s3

BUCKET = "swath"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with s3(tmp_path_factory.mktemp("s3")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        client().create_bucket(Bucket=BUCKET)
        yield


@pytest.fixture
def store(server: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty store."""
    return f"s3://{BUCKET}/{tmp_path_factory.mktemp('store').name}"
