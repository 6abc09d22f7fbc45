"""What holds state comes back after its machine has lost its power."""

from __future__ import annotations

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.outages import outages_wanted


@pytest.mark.skipif(not outages_wanted(), reason="of outages; OUTAGES=1 asks for them")
@pytest.mark.parametrize("name", ["postgres", "redis", "s3"])
def test_a_killed_store_comes_back(cluster: Cluster, name: str) -> None:
    store = cluster.services[name]
    store.start()
    store.wait_healthy()
    store.kill()
    store.start()
    store.wait_healthy()
    store.stop()
