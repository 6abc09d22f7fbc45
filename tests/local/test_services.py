from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.files import write_json
from pipelines.local.services import INSTANCE, Services, _booted, environment, running, stop


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    return tmp_path


def services(*sessions: int) -> Services:
    addresses = {"airflow": "http://127.0.0.1:9", "mlflow": "http://127.0.0.1:9"}
    who = {"user": "admin", "password": "secret", "booted": psutil.boot_time()}
    began = tuple(psutil.Process(session).create_time() for session in sessions)
    return Services(instance="feed", sessions=sessions, began=began, **addresses, **who)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_stopping_reaches_services_their_children_and_tasks_that_left_the_session(home: Path, tmp_path: Path) -> None:
    sleeper = "import time; time.sleep(300)"
    child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', '{sleeper}']); time.sleep(300)"
    service = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    task = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True, env={INSTANCE: "feed"})
    stranger = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
    write_json(home / "services.json", services(service.pid).model_dump())
    while not psutil.Process(service.pid).children():
        time.sleep(0.05)
    grandchild = psutil.Process(service.pid).children()[0].pid
    try:
        assert stop() == 3
        assert not any(map(alive, (service.pid, grandchild, task.pid)))
        assert alive(stranger.pid)
        assert not (home / "services.json").exists()
    finally:
        stranger.kill()


def test_a_stranger_to_whom_the_number_of_a_service_has_passed_is_left_alone(home: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    ours = services(stranger.pid)
    former = ours.model_copy(update={"began": tuple(began - 100 for began in ours.began)})
    write_json(home / "services.json", former.model_dump())
    try:
        assert running() is None
        assert stop() == 0 and alive(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_without_a_record_there_is_nothing_to_stop(home: Path) -> None:
    assert stop() == 0 and running() is None


def test_what_has_lost_a_part_counts_as_down(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its server answers: `make up` would mend nothing, and `make run` wait for a scheduler that is gone."""
    monkeypatch.setattr("pipelines.local.services._answers", lambda url: True)
    parts = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) for _ in range(2)]
    try:
        write_json(home / "services.json", services(*(part.pid for part in parts)).model_dump())
        assert running() is not None
        parts[1].kill()
        while alive(parts[1].pid):
            time.sleep(0.02)
        assert running() is None
    finally:
        for part in parts:
            part.kill()
            part.wait()


def test_a_secret_that_was_half_written_is_made_anew(home: Path, tmp_path: Path) -> None:
    (home / "airflow" / "secrets").mkdir(parents=True)
    (home / "airflow" / "secrets" / "jwt").touch()
    assert len(environment(tmp_path, services())["AIRFLOW__API_AUTH__JWT_SECRET"]) > 16


def test_the_embedded_system_is_on_loopback_and_its_secrets_are_its_owners_alone(home: Path, tmp_path: Path) -> None:
    env = environment(tmp_path, services())
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__API_AUTH__JWT_SECRET"] == environment(tmp_path, services())["AIRFLOW__API_AUTH__JWT_SECRET"]
    secrets = list((home / "airflow" / "secrets").iterdir())
    assert secrets and all(path.stat().st_mode & 0o077 == 0 for path in secrets)


def test_a_clock_that_is_set_loses_no_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    began = psutil.Process(service.pid).create_time() - psutil.boot_time()
    ours = services(service.pid).model_copy(update={"booted": _booted(), "began": (began,)})
    write_json(home / "services.json", ours.model_dump())
    create, boot = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create(process) + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot() + 3600)
    assert stop() == 1 and not alive(service.pid)


def test_services_of_this_machine_are_reached_past_a_proxy_and_see_no_view_of_a_command(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("SWATH_VIEW", "up-work")
    made = environment(home, services())
    assert made["NO_PROXY"] == made["no_proxy"] == "example.org,127.0.0.1,localhost"
    assert "SWATH_VIEW" not in made
