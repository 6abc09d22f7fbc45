"""What docker-compose.yml promises, read from the file as compose reads it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
ONE_SHOT = {"setup"}
SECRET = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN")


def read() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


SERVICES: dict[str, dict[str, Any]] = read()["services"]


def variables() -> dict[str, str]:
    """Every ``${NAME...}`` in the file, with what follows the name."""
    found: dict[str, str] = {}
    for name, rest in re.findall(r"\$\{(\w+)(:[^}]*)?\}", FILE.read_text(encoding="utf-8")):
        assert found.setdefault(name, rest)[:2] == rest[:2], f"{name} is required in one place and not in another"
    return found


def made_secrets() -> dict[str, str]:
    printed = subprocess.run(["sh", ROOT / "docker" / "secrets"], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in printed.splitlines() if not line.startswith("#"))


def test_every_part_of_the_system_is_there():
    parts = {"postgres", "redis", "s3", "mlflow", "api-server", "scheduler", "dag-processor", "triggerer"}
    assert parts | {"worker-cpu", "worker-io", "worker-gpu", "setup"} == set(SERVICES)
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_only_loopback_is_published(name: str):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert "network_mode" not in SERVICES[name] and "privileged" not in SERVICES[name]


def test_only_the_two_that_people_open_are_published():
    assert {name for name, service in SERVICES.items() if service.get("ports")} == {"api-server", "mlflow"}


def test_no_secret_has_a_default():
    required = {name for name, rest in variables().items() if rest.startswith(":?")}
    assert {name for name in variables() if SECRET.search(name)} <= required
    assert "SWATH_GIT_REMOTE" in required
    assert all(len(rest) > 20 for rest in variables().values() if rest.startswith(":?"))  # a sentence that helps


def test_no_secret_is_written_into_the_file():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name) and not name.endswith("_FILE") and name != "MLFLOW_ALLOW_PICKLE_DESERIALIZATION":
                assert str(value).startswith("${"), name


def test_each_service_has_the_secrets_that_it_uses_and_no_others():
    holders: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for secret in re.findall(r"\$\{(\w+):\?", str(service.get("environment", {}))):
            holders.setdefault(secret, set()).add(name)
    airflow = {"api-server", "scheduler", "dag-processor", "triggerer"}
    workers = {"worker-cpu", "worker-io", "worker-gpu"}
    assert holders == {
        "AIRFLOW_JWT_SECRET": {"api-server", "scheduler"},
        "AIRFLOW_FERNET_KEY": airflow,
        "SWATH_ADMIN_PASSWORD": {"setup"},
        "AIRFLOW_API_SECRET": airflow | workers | {"setup"},
        "SWATH_GIT_REMOTE": airflow | workers | {"setup"},
        "REDIS_PASSWORD": airflow | workers | {"setup", "redis"},
        "S3_SECRET_KEY": airflow | workers | {"setup", "mlflow", "s3"},
        "POSTGRES_PASSWORD": {"postgres"},
        "AIRFLOW_DB_PASSWORD": airflow | {"setup", "postgres", "worker-cpu"},  # the last prunes history
        "MLFLOW_DB_PASSWORD": {"setup", "mlflow", "postgres"},
        "WORKER_DB_PASSWORD": airflow | workers | {"setup", "postgres"},
    }


def test_who_fetches_scenes_and_nobody_else_has_the_key_of_a_source():
    assert {name for name, service in SERVICES.items() if "PC_SDK_" in str(service.get("environment"))} == {"worker-io"}


def test_the_script_makes_every_secret_that_is_required_and_each_time_others():
    required = {name for name, rest in variables().items() if rest.startswith(":?")}
    one, other = made_secrets(), made_secrets()
    assert required - {"SWATH_GIT_REMOTE"} == set(one)
    assert all(one[name] != other[name] and len(one[name]) >= 40 for name in one)
    assert all(re.fullmatch(r"[A-Za-z0-9_=-]+", value) for value in one.values())  # they go into addresses


def test_the_fernet_key_is_one():
    from cryptography.fernet import Fernet

    key = made_secrets()["AIRFLOW_FERNET_KEY"].encode()
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"x")) == b"x"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_service_is_checked_and_comes_back(name: str):
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_nothing_starts_before_the_one_shot_setup_has_ended():
    ours = [s for n, s in SERVICES.items() if s["image"].startswith("swath:") and n not in ONE_SHOT]
    assert len(ours) == 8
    assert all(s["depends_on"]["setup"]["condition"] == "service_completed_successfully" for s in ours)
    needs = SERVICES["setup"]["depends_on"]
    assert {n: v["condition"] for n, v in needs.items()} == dict.fromkeys(
        ("postgres", "redis", "s3"), "service_healthy"
    )
    assert not SERVICES["setup"]["restart"].startswith(("always", "unless"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str):
    image, tag = SERVICES[name]["image"].rsplit(":", 1)
    assert image and re.match(r"\d+\.\d+", tag)


def test_named_volumes_hold_what_must_outlive_a_container():
    declared = set(read()["volumes"])
    used = {v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", []) if ":" in v and v[0] not in "./"}
    assert used == declared


def test_no_two_services_share_a_disk_but_for_the_login_that_setup_makes():
    users: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            if not volume.startswith(("/", "./")):
                users.setdefault(volume.split(":")[0], set()).add(name)
    assert {volume: names for volume, names in users.items() if len(names) > 1} == {"login": {"setup", "api-server"}}
    for name in ("worker-cpu", "worker-io", "worker-gpu"):
        assert SERVICES[name]["volumes"] == [SERVICES[name]["environment"]["SWATH_HOME"]]  # anonymous: its own


def test_what_tasks_leave_goes_to_the_store():
    environment = SERVICES["worker-cpu"]["environment"]
    places = ("SWATH_STORE", "SWATH_DVC_REMOTE", "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER")
    assert all(environment[name].startswith("s3://") for name in places)
    assert environment["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "True"
    assert not {"SWATH_CATALOG", "SWATH_PREDICTIONS", "SWATH_REPORTS"} & set(environment)


def test_a_task_may_wait_for_a_worker_and_work_for_days():
    """By default Airflow fails what waits for half an hour, and Celery begins anew what works for a day."""
    environment, day = SERVICES["scheduler"]["environment"], 86_400
    waits, times = (
        int(environment[f"AIRFLOW__SCHEDULER__{name}"])
        for name in ("TASK_QUEUED_TIMEOUT", "NUM_STUCK_IN_QUEUED_RETRIES")
    )
    assert waits <= day / 4 and waits * times > 7 * day  # what was lost with a worker is sent anew the same day
    for service in ("scheduler", "worker-cpu", "worker-io"):
        options = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"
        assert int(SERVICES[service]["environment"][options]) > 3 * day


def test_every_queue_of_the_dags_has_a_worker():
    served = {"default", *re.search(r"SWATH_CPU_QUEUES:-([\w,]+)", SERVICES["worker-cpu"]["command"])[1].split(",")}
    served |= {SERVICES[f"worker-{kind}"]["command"].split("--queues ")[1].split()[0] for kind in ("io", "gpu")}
    asked = {q for dag in (ROOT / "dags").glob("*.py") for q in re.findall(r'queue="(\w+)"', dag.read_text())}
    assert asked and asked <= served


def test_the_settings_are_those_that_the_package_reads():
    readers = (
        "pipelines/config/settings.py",
        *(f"plugins/{name}.py" for name in ("notices", "defaults", "git_push")),
        "dags/maintain.py",
    )
    text = "".join((ROOT / name).read_text() for name in readers)
    named = {n for n in SERVICES["worker-cpu"]["environment"] if n.startswith(("SWATH_", "MLFLOW_TRACKING"))}
    assert named and all(re.search(rf"\b{name}\b", text) for name in named)


def test_the_image_is_made_of_the_lock_by_an_ordinary_user():
    lines = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert re.match(r"FROM python:3\.11\.\d+-slim", next(line for line in lines if line.startswith("FROM")))
    assert [line for line in lines if line.startswith("USER")] == ["USER swath"]
    assert any("uv pip install --requirement requirements.lock" in line for line in lines)
    assert any("--no-deps" in line for line in lines)
    assert not any(re.match(r"(ENV|ARG).*" + SECRET.pattern, line) for line in lines)
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert rules[0] == "*", "whatever lies in the checkout, secrets and copies of databases too, would be in the image"
    assert not {rule.lstrip("!").partition("/")[0] for rule in rules} & {".env", ".git", ".dvc", "var", "data"}


def test_the_entrypoint_becomes_the_command_and_refuses_what_it_cannot_write(tmp_path: Path):
    script, environment = ROOT / "docker" / "entrypoint", os.environ | {"AIRFLOW_HOME": str(tmp_path)}
    good = subprocess.run(
        [script, "echo", "here I am"], env=environment | {"SWATH_HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert (good.returncode, good.stdout) == (0, "here I am\n")
    bad = subprocess.run(
        [script, "true"], env=environment | {"SWATH_HOME": str(tmp_path / "none")}, capture_output=True, text=True
    )
    assert bad.returncode == 1 and "cannot be written" in bad.stderr
