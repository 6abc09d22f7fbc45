from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from pipelines.evaluation.tracking import store
from pipelines.workspace.git import git
from tests.evaluation.parcels import Workspace, write_workspace
from tests.registry.entrants import Model, World, pack


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    """Two packaged workspaces that differ in the network alone, in a store that nobody has made before."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWATH_HOME", str(home))
        patch.setenv("SWATH_GIT_REMOTE", str(home / "watched"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (home / "watched").mkdir()
        git("init", "--quiet", "--bare", ".", at=home / "watched")
        (home / "land").mkdir()
        good = write_workspace(home / "land")
        poor = Workspace(home / "poor", good.catalog, good.params)
        shutil.copytree(good.folder, poor.folder)
        with store() as client:
            entrants = [pack(poor, steps=25), pack(good, steps=60)]
            yield World(*entrants, home, client)


@pytest.fixture
def model(world, request) -> Model:
    return Model(re.sub("[^a-z]+", "-", request.node.name)[:60], world.client)
