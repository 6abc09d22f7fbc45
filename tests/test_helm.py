"""The values for Airflow's official chart say what the image, the lock and the DAGs say."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text(encoding="utf-8"))
SETS: list[dict[str, Any]] = VALUES["workers"]["celery"]["sets"]


def test_the_versions_are_those_of_the_lock_and_of_compose():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert VALUES["airflowVersion"] == version("apache-airflow")
    assert VALUES["images"]["airflow"]["tag"] == compose["services"]["scheduler"]["image"].rsplit(":", 1)[1]


def test_every_queue_of_the_dags_has_workers_with_a_disk_of_their_own():
    served = {queue for workers in SETS for queue in workers["queue"].split(",")}
    asked = {q for dag in (ROOT / "dags").glob("*.py") for q in re.findall(r'queue="(\w+)"', dag.read_text())}
    assert asked and asked | {"default"} <= served
    home = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-environment"]["SWATH_HOME"]
    for workers in SETS:
        own = {volume["name"] for volume in workers["extraVolumes"] if "ephemeral" in volume}
        assert any(mount["mountPath"] == home and mount["name"] in own for mount in workers["extraVolumeMounts"])


def test_programs_of_the_image_apache_airflow_are_not_asked_of_ours():
    """The chart's probes run /entrypoint, which ours has, and its log groomers /clean-logs, which ours has not."""
    assert "/entrypoint" in (ROOT / "docker" / "Dockerfile").read_text().split("ln -s")[1].splitlines()[0]
    parts = [VALUES[part] for part in ("scheduler", "dagProcessor", "triggerer")] + [VALUES["workers"]["celery"]]
    assert not any(part["logGroomerSidecar"]["enabled"] for part in parts)


def test_the_file_of_logins_can_be_written_as_airflow_opens_it():
    """Its simple auth manager opens it with a+ at the start and r+ at each login."""
    server = VALUES["apiServer"]
    file = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-server"]
    place = Path(file["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    (mount,) = [one for one in server["extraVolumeMounts"] if one["mountPath"] == str(place.parent)]
    assert not mount.get("readOnly")
    (volume,) = [one for one in server["extraVolumes"] if one["name"] == mount["name"]]
    assert "emptyDir" in volume
    (start,) = server["extraInitContainers"]
    assert start["command"][-1] == str(place)
    assert start["image"] == "{repository}:{tag}".format(**VALUES["images"]["airflow"])


def test_no_worker_maps_more_scenes_at_a_time_than_its_memory_holds():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    each = int(params["predict"]["max_memory"].removesuffix("GB"))
    compose = (ROOT / "docker-compose.yml").read_text()
    (tasks,) = re.findall(r"SWATH_CPU_TASKS:-(\d+)", compose)
    (limit,) = set(re.findall(r"SWATH_WORKER_MEMORY:-(\d+)g", compose))
    assert int(tasks) * each + 1 <= int(limit)
    usual = VALUES["config"]["celery"]["worker_concurrency"]
    for workers in SETS:
        own = {one["name"]: one["value"] for one in workers.get("env", [])}
        at_once = int(own.get("AIRFLOW__CELERY__WORKER_CONCURRENCY", usual))
        assert workers["name"] == "io" or at_once * each + 1 <= int(workers["resources"]["limits"]["memory"][:-2])
        assert workers["name"] != "gpu" or at_once == 1


def test_tasks_may_wait_as_long_as_in_compose():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-environment"]
    for section in ("scheduler", "celery_broker_transport_options"):
        for name, value in VALUES["config"][section].items():
            assert compose[f"AIRFLOW__{section.upper()}__{name.upper()}"] == value


def test_installing_does_not_wait_for_pods_that_wait_for_its_hook():
    told = (ROOT / "docs" / "production.md").read_text().replace("\\\n", "")
    assert not re.search(r"^helm (install|upgrade).*--wait", told, re.MULTILINE)


def test_no_secret_is_written_into_the_file():
    named = {name for name in VALUES if name.endswith("SecretName")}
    assert named == {"fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName"}
    assert not any(re.search(r"pass|secret|token", entry["name"], re.IGNORECASE) for entry in VALUES["env"])
