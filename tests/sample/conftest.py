from pathlib import Path

import pytest

from pipelines.sample.region import Order, make_region

SMALL = Order(size=128, seed=3, scenes=4, unlabelled=1)


@pytest.fixture(scope="session")
def region(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small region; tests only read it."""
    folder = tmp_path_factory.mktemp("sample") / "region"
    make_region(folder, SMALL)
    return folder
