"""A bundle and its runtime."""

from __future__ import annotations

import pytest

from pipelines.bundle.store import open_bundle
from pipelines.inference.runtime import Runtime
from tests.bundle.trained import bundle_folder


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(bundle_folder())


@pytest.fixture(scope="module")
def runtime(bundle):
    return Runtime(bundle, threads=1)
