"""What the doctor says of a store."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipelines.depot.store import store as opened
from pipelines.doctor.store import kept
from tests.depot.machines import held
from tests.doctor.conftest import only


def test_a_store_that_heeds_conditions_is_fine_and_left_as_it_was(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWATH_STORE", raising=False)
    only(kept(), "skipped")
    monkeypatch.setenv("SWATH_STORE", store)
    only(kept(), "fine")
    assert held(store) == {}


def test_a_store_whose_clock_is_another_is_fine(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_STORE", store)
    now = time.time()
    monkeypatch.setattr("pipelines.depot.store.time.time", lambda: now + 90)
    only(kept(), "fine")


def test_a_store_that_overwrites_unseen_is_told(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def heedless(params: dict[str, Any], **_: Any) -> None:
        params.pop("IfNoneMatch", None)
        params.pop("IfMatch", None)

    monkeypatch.setenv("SWATH_STORE", store)
    events = opened()._client.meta.events
    events.register("provide-client-params.s3.PutObject", heedless)
    try:
        assert "overwrites" in only(kept(), "fault").what
    finally:
        events.unregister("provide-client-params.s3.PutObject", heedless)
    assert held(store) == {}


def test_a_server_that_is_not_there_is_told(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_STORE", store)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert opened()._client.meta.config.retries["total_max_attempts"] == 2
    assert "does not answer" in only(kept(), "fault").what
