from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.local.airflow_api import Airflow
from pipelines.local.chain import CHAIN
from pipelines.local.services import Services, environment, start, stop
from tests.checkout import ROOT, SMALL, change_params, make_repository

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class System:
    """A checkout of its own, its own SWATH_HOME, and Airflow and MLflow running on both."""

    def __init__(self, checkout: Path, home: Path, services: Services) -> None:
        self.checkout = checkout
        self.home = home
        self.services = services
        self.airflow = Airflow(services)
        self.triggerer = services.sessions[-1]  # which is started last; its process leads a session

    def kill_triggerer(self) -> None:
        """End it and its children at once, as a machine that loses its power does."""
        ours = [process for process in psutil.process_iter() if _session(process) == self.triggerer]
        assert ours, "no triggerer runs"
        for process in ours:
            with suppress(psutil.NoSuchProcess):  # a child may end with its parent
                process.kill()
        psutil.wait_procs(ours, timeout=10)

    def start_triggerer(self) -> None:
        with (self.home / "logs" / "triggerer.log").open("ab") as out:
            started = subprocess.Popen(
                [sys.executable, "-m", "airflow", "triggerer"],
                env=environment(self.checkout, self.services),
                cwd=self.home,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.triggerer = started.pid

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.checkout, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def change(self, **sections: dict[str, object]) -> None:
        change_params(self.checkout, **sections)


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The embedded system on a clone of this checkout and a small sample region, for this folder's tests alone."""
    folder = tmp_path_factory.mktemp("e2e")
    checkout, home = folder / "checkout", folder / "home"
    make_repository(checkout)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SWATH_", "MLFLOW_", "AIRFLOW"))]:
            if name != "SWATH_DATA":
                patch.delenv(name)
        patch.setenv("SWATH_HOME", str(home))
        patch.setenv("SWATH_GIT_REMOTE", str(checkout))
        patch.setenv("SWATH_GIT_INTERVAL", "1")
        patch.setenv("SWATH_SCHEDULE", "off")  # what starts here is what a test starts, at any hour
        # seconds without a heartbeat after which the work of a dead triggerer is taken over
        patch.setenv("AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD", "15")
        patch.setenv("SWATH_LATE_HOURS", "0.005")  # so that the longer runs of a chain are late
        sample = [sys.executable, "-m", "pipelines", "sample", "--out", str(home / "sample")]
        subprocess.run([*sample, "--size", "512", "--scenes", "4"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        made = None
        try:
            made = System(checkout, home, start(checkout, print))
            made.change(**SMALL)  # and leave it uncommitted, as a person at a desk does
            made.airflow.wait_for_dags(list(CHAIN))
            for dag in CHAIN:
                made.airflow.unpause(dag)
            yield made
        finally:
            if made and made.triggerer not in made.services.sessions:
                made.kill_triggerer()
            stop()


@pytest.fixture(scope="package")
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


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:  # it has ended meanwhile
        return None
