"""What a person sees: logging in, the form, the runs going green, the Swath page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if _CHROMIUM is None:
        pytest.skip("no Chromium on this machine; install Debian's package `chromium` to run the browser test")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, system: System) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(system.services.airflow)
    page.locator("input[name=username]").fill(system.services.user)
    page.locator("input[name=password]").fill(system.services.password)
    page.locator("button[type=submit], input[type=submit]").first.click()
    page.wait_for_url(lambda url: "/auth/login" not in url)
    yield page
    context.close()


def test_ingest_is_triggered_from_its_form_and_goes_green(page: Any, system: System) -> None:
    before = {run["dag_run_id"] for run in system.airflow.runs("ingest_scenes")}
    page.goto(f"{system.services.airflow}/dags/ingest_scenes")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("First day").first.wait_for()
    dialog.get_by_role("button", name="Trigger").last.click()
    deadline = time.monotonic() + 300
    run: dict[str, Any] | None = None
    while time.monotonic() < deadline and (run is None or run["state"] not in ("success", "failed")):
        new = [r for r in system.airflow.runs("ingest_scenes") if r["dag_run_id"] not in before]
        run = new[0] if new else None
        time.sleep(0.5)
    assert run is not None and run["state"] == "success"
    page.goto(f"{system.services.airflow}/dags/ingest_scenes/runs/{run['dag_run_id']}")
    page.get_by_text("Success").first.wait_for()


def test_the_swath_page_shows_the_catalog_and_is_behind_the_login(page: Any, system: System) -> None:
    assert httpx.get(f"{system.services.airflow}/swath/", trust_env=False).status_code == 401
    page.goto(f"{system.services.airflow}/swath/")
    page.get_by_text("Scenes in the catalog").first.wait_for()
    page.goto(f"{system.services.airflow}/plugin/swath")
    page.frame_locator("iframe").get_by_text("Scenes in the catalog").first.wait_for()
