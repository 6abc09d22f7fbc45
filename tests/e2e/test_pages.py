"""What a person sees: logging in, the form, the runs going green, the Swath page."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from pipelines.config import load_params
from pipelines.local.chain import run_chain
from pipelines.scenes.quarantine import lift, put
from pipelines.workspace.source import pin
from tests.e2e.conftest import System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


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


@pytest.fixture(scope="module")
def project(system: System) -> str:
    """The sample project, once its maps were watched."""
    if not any(run["state"] == "success" for run in system.airflow.runs("monitor_drift")):
        run_chain(system.airflow, pin(system.checkout).commit, lambda tasks: None)
    return str(load_params(system.checkout / "params.yaml").project)


@pytest.fixture
def swath(page: Any, system: System, project: str) -> Any:
    """The Swath page as the navigation opens it: in Airflow's frame."""
    page.goto(f"{system.services.airflow}/plugin/swath")
    return page.frame_locator("iframe")


def test_the_swath_page_shows_the_catalog_and_is_behind_the_login(page: Any, system: System) -> None:
    assert httpx.get(f"{system.services.airflow}/swath/", trust_env=False).status_code == 401
    page.goto(f"{system.services.airflow}/swath/")
    page.get_by_text("Scenes in the catalog").first.wait_for()
    page.goto(f"{system.services.airflow}/plugin/swath")
    page.frame_locator("iframe").get_by_text("Scenes in the catalog").first.wait_for()


def test_a_pixel_is_asked_and_days_are_compared_by_keyboard(swath: Any, system: System, project: str) -> None:
    swath.get_by_role("heading", name=project).get_by_role("link").click()
    swath.locator("img.leaflet-tile-loaded").first.wait_for()
    assert swath.locator("#map").evaluate(
        "map => [...map.querySelectorAll('img')].every(one => one.src.startsWith(location.origin))"
    )
    swath.locator("#map").press("Enter")
    card = swath.locator("#pixel")
    card.get_by_text("Version 1").wait_for()
    assert "% sure" in card.inner_text() or "no class" in card.inner_text() or "cloud" in card.inner_text()
    assert "models:/" in card.inner_text() and "UTC" in card.inner_text()
    card.get_by_role("button", name="Close").click()
    assert card.is_hidden()
    swath.locator("#layer-errors").check()
    swath.get_by_text("other than labelled").wait_for()
    swath.locator("#against").select_option("day")
    swath.locator("#swipe").focus()
    before = swath.locator(".leaflet-left-pane").evaluate("pane => pane.style.clipPath")
    swath.locator("#swipe").press("ArrowLeft")
    assert swath.locator(".leaflet-left-pane").evaluate("pane => pane.style.clipPath") != before
    swath.locator("#busy").wait_for(state="hidden")


def test_models_drift_and_datasets_tell_their_story(swath: Any) -> None:
    swath.get_by_role("link", name="Models").click()
    swath.get_by_role("heading", name="Version 1").wait_for()
    swath.get_by_text("champion", exact=True).first.wait_for()
    swath.get_by_role("link", name="Drift").click()
    swath.get_by_role("heading", name="How far each feature has moved").wait_for()
    assert swath.locator("svg circle").count() > 0
    swath.get_by_role("link", name="Datasets").click()
    swath.get_by_text("clean", exact=True).first.wait_for()
    assert swath.locator(".stack").count() == 3


def test_the_page_follows_the_theme_of_airflow(page: Any, swath: Any) -> None:
    seen = {}
    for theme in ("dark", "light"):
        page.evaluate(f"localStorage.setItem('theme', '{theme}')")
        page.reload()
        swath.get_by_text("Scenes in the catalog").first.wait_for()
        seen[theme] = swath.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        around = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert seen[theme] == around, "a page of another colour than its frame"
    assert seen["dark"] != seen["light"]


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Any, system: System, project: str) -> None:
    page.set_viewport_size({"width": 380, "height": 740})
    for part in ("", *(f"p/{project}/{name}" for name in ("map", "models", "drift", "data", "scenes"))):
        page.goto(f"{system.services.airflow}/swath/{part}")
        page.locator("main").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, part


def test_a_run_leads_to_its_part_and_back(page: Any, system: System, project: str) -> None:
    run = next(run for run in system.airflow.runs("monitor_drift") if run["state"] == "success")["dag_run_id"]
    address = f"{system.services.airflow}/dags/monitor_drift/runs/{quote(run, safe='')}"
    page.goto(address)
    # the navigation has a link of this name too, and is there before the run's own
    page.get_by_role("link", name="Swath").and_(page.locator("a[href*='/runs/']")).click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name=f"Drift of {project}").wait_for()
    frame.get_by_role("link", name="run", exact=True).first.click()
    page.wait_for_url(lambda url: "/dags/monitor_drift/runs/" in url and "/plugin/" not in url)


def test_a_scene_in_quarantine_is_tried_again(page: Any, swath: Any, system: System, project: str) -> None:
    catalog = system.home / "catalog" / project
    put(catalog, id="burst", source="nowhere", stage="validate", reason="It is dark.", fingerprint="f")
    before = {run["dag_run_id"] for run in system.airflow.runs("ingest_scenes")}
    swath.get_by_role("link", name="Scenes", exact=True).click()
    swath.get_by_text("It is dark.").wait_for()
    swath.get_by_role("button", name="Try burst again").click()
    swath.get_by_text("It is tried again in the run").wait_for()
    new = [run for run in system.airflow.runs("ingest_scenes") if run["dag_run_id"] not in before]
    assert len(new) == 1 and new[0]["conf"]["retry"] == "burst"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if (state := system.airflow.run("ingest_scenes", new[0]["dag_run_id"])["state"]) in ("success", "failed"):
            break
        time.sleep(0.5)
    assert state == "success"
    lift(catalog, "burst")
