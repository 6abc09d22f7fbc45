from __future__ import annotations

import pytest

from tests.evaluation.parcels import Workspace, write_trained, write_workspace


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a well trained network."""
    workspace = write_workspace(tmp_path_factory.mktemp("parcels"))
    write_trained(workspace, steps=60)
    return workspace
