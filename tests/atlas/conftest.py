from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.atlas.layers import Atlas, open_atlas
from tests.atlas.ground import PROJECT, village


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    home = tmp_path_factory.mktemp("home")
    village(home)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CATALOG", "PREDICTIONS", "REPORTS"):
            patch.delenv(f"SWATH_{name}", raising=False)
        patch.setenv("SWATH_HOME", str(home))
        patch.setenv("SWATH_GIT_REMOTE", str(home / "nothing"))
        yield open_atlas(PROJECT)
