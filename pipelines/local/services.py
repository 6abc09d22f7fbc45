"""Starting and stopping Airflow and MLflow on this machine, and nothing left running."""

from __future__ import annotations

import base64
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import httpx
import psutil
from pydantic import BaseModel, ConfigDict

from pipelines.config import settings
from pipelines.config.settings import VIEW
from pipelines.errors import SwathError
from pipelines.files import alone, read_json, replacing, write_json, write_secret

log = logging.getLogger(__name__)

DATA = "SWATH_DATA"  # folder of the imagery that examples name
INSTANCE = "SWATH_INSTANCE"  # in the environment of every process of the embedded system, tasks included
_START_LIMIT = 180  # seconds
_CLOCK = 5  # seconds


class Services(BaseModel):
    """The addresses of a running embedded system."""

    model_config = ConfigDict(frozen=True)

    instance: str
    airflow: str
    mlflow: str
    user: str
    password: str
    booted: str | float  # a session's number means nothing after a reboot
    sessions: tuple[int, ...] = ()  # of the services' processes
    began: tuple[float, ...] = ()  # when these did, for a number may pass on to a stranger; seconds since the boot
    data: str | None = None  # SWATH_DATA as their tasks have it
    stays: bool = False  # after the run that started them


def start(checkout: Path, tell: Callable[[str], None], stays: bool = False) -> Services:
    """Start MLflow and the four parts of Airflow, wait until they answer, and return where they are.

    What runs already is used as it is, and with ``stays`` no run stops it any more. On any failure everything is
    stopped and the log to read is named. Raises ``SwathError`` if what runs was told of another ``SWATH_DATA``.
    """
    with alone(settings().home / "services.lock"):
        return _started(checkout, tell, stays)


def recorded() -> Services | None:
    """The embedded system that was started for this ``SWATH_HOME`` and not stopped, whether it still lives or not."""
    return Services.model_validate(read_json(_record())) if _record().exists() else None


def running() -> Services | None:
    """The embedded system that answers on this machine for this ``SWATH_HOME``; ``None`` if there is none, or if a part
    of it has ended."""
    services = recorded()
    if services is None or not all(map(_lives, ours := _sessions(services))) or len(ours) < len(services.sessions):
        return None
    return services if _answers(f"{services.airflow}/api/v2/monitor/health") else None


def stop() -> int:
    """Stop every process of the embedded system of this ``SWATH_HOME``; returns how many there were."""
    if (services := recorded()) is None:
        return 0
    ours = _processes(services)
    for send in (signal.SIGTERM, signal.SIGKILL):
        for process in _processes(services):
            _signal(process, send)
        deadline = time.monotonic() + 15
        while _processes(services) and time.monotonic() < deadline:
            time.sleep(0.2)
    _record().unlink(missing_ok=True)
    return len(ours)


def environment(checkout: Path, services: Services) -> dict[str, str]:
    """The whole configuration of the embedded system: environment variables, and nothing else."""
    home = settings().home
    port = services.airflow.rsplit(":", 1)[1]
    workers = str(max(2, min(os.cpu_count() or 2, 8)))
    near = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1,localhost")))
    inherited = {name: value for name, value in os.environ.items() if name != VIEW}  # which ends with this command
    return inherited | {
        "NO_PROXY": near,  # Airflow's and MLflow's clients would ask a proxy for the services of this machine
        "no_proxy": near,
        INSTANCE: services.instance,
        "SWATH_HOME": str(home),
        "SWATH_GIT_REMOTE": os.environ.get("SWATH_GIT_REMOTE") or str(checkout),
        "SWATH_GIT_INTERVAL": os.environ.get("SWATH_GIT_INTERVAL") or "10",
        "MLFLOW_TRACKING_URI": services.mlflow,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # it judges language models, in seven processes that take 2 GB
        "WHYLOGS_NO_ANALYTICS": "True",
        "DO_NOT_TRACK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX") or str(home / "pycache"),
        "PYTHONDONTWRITEBYTECODE": "",  # where it is set, every task compiles Airflow and torch anew
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(checkout / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(checkout / "plugins"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": workers,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__FERNET_KEY": _kept_secret(home, "fernet", fernet=True),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{services.user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "airflow" / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{services.airflow}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow' / 'airflow.db'}",
        "SWATH_AIRFLOW_DB": f"sqlite:///{home / 'airflow' / 'airflow.db'}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": services.airflow,
        "AIRFLOW__API__SECRET_KEY": _kept_secret(home, "api"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _kept_secret(home, "jwt"),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs" / "tasks"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "tasks" / "dag_processor"),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def _started(checkout: Path, tell: Callable[[str], None], stays: bool) -> Services:
    if (found := running()) is not None:
        if (asked := os.environ.get(DATA)) and asked != found.data:
            raise SwathError(
                f"What runs in {settings().home} was started with {DATA}={found.data or ''}, not {asked}; stop it "
                "with `make down` first."
            )
        return _record_of(found.model_copy(update={"stays": found.stays or stays}))
    stop()
    home = settings().home
    services = Services(
        instance=secrets.token_hex(8),
        airflow=f"http://127.0.0.1:{_free_port('SWATH_AIRFLOW_PORT', 8080)}",
        mlflow=f"http://127.0.0.1:{_free_port('SWATH_MLFLOW_PORT', 5000)}",
        user="admin",
        booted=_booted(),
        password=_kept_secret(home, "password"),
        data=os.environ.get(DATA),
        stays=stays,
    )
    _record_of(services)
    env = environment(checkout, services)
    try:
        server = _start_mlflow(home, services, env, tell)
        return _start_airflow(home, _remember(services, server), env, tell, server)
    except BaseException:
        stop()
        raise


def _start_mlflow(
    home: Path, services: Services, env: dict[str, str], tell: Callable[[str], None]
) -> subprocess.Popen[bytes]:
    (home / "mlflow").mkdir(parents=True, exist_ok=True)
    store = f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"
    port = services.mlflow.rsplit(":", 1)[1]
    tell("MLflow starts")
    # A folder that clients reach themselves: a person at a desk uses the same store with no server running.
    artifacts = ["--no-serve-artifacts", "--default-artifact-root", (home / "mlflow" / "artifacts").as_uri()]
    place = ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
    return _spawn("mlflow", ["-m", "mlflow", "server", "--backend-store-uri", store, *artifacts, *place], env)


def _start_airflow(
    home: Path, services: Services, env: dict[str, str], tell: Callable[[str], None], mlflow: subprocess.Popen[bytes]
) -> Services:
    tell("Airflow's database is made ready")
    (home / "airflow").mkdir(parents=True, exist_ok=True)
    write_secret(home / "airflow" / "passwords.json", {services.user: services.password})
    _finish("airflow-migrate", ["db", "migrate"], env)
    tell("Airflow starts")
    started = {"mlflow": mlflow}
    for part in ("api-server", "scheduler", "dag-processor", "triggerer"):
        # tasks ask the api-server too, and its pages must not hold its threads for minutes when MLflow is away
        brief = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
        started[part] = _spawn(part, ["-m", "airflow", part], env | (brief if part == "api-server" else {}))
        services = _remember(services, started[part])
    _finish("pools", ["pools", "import", str(_pools(home))], env)
    _wait_for(f"{services.airflow}/api/v2/monitor/health", started, "api-server")
    _wait_for(f"{services.mlflow}/health", started, "mlflow")
    return services


def _remember(services: Services, process: subprocess.Popen[bytes]) -> Services:
    sessions, began = (*services.sessions, process.pid), (*services.began, _age(process.pid))
    return _record_of(services.model_copy(update={"sessions": sessions, "began": began}))


def _record_of(services: Services) -> Services:
    write_secret(_record(), services.model_dump())
    return services


def _pools(home: Path) -> Path:
    pools = {
        "gpu": {"slots": 1, "description": "Training", "include_deferred": False},
        "io": {"slots": 4, "description": "Fetching", "include_deferred": False},
    }
    write_json(home / "airflow" / "pools.json", pools)
    return home / "airflow" / "pools.json"


def _finish(name: str, arguments: list[str], env: dict[str, str]) -> None:
    if _spawn(name, ["-m", "airflow", *arguments], env).wait() != 0:
        raise SwathError(f"airflow {' '.join(arguments)} failed; read {_log(name)}.")


def _spawn(name: str, arguments: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    _log(name).parent.mkdir(parents=True, exist_ok=True)
    with _log(name).open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=env,
            cwd=settings().home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_for(url: str, started: dict[str, subprocess.Popen[bytes]], name: str) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline:
        for part, process in started.items():  # first of all, for a stranger may answer in its place
            if process.poll() is not None:
                raise SwathError(f"{part} ended at once; read {_log(part)}.")
        if _answers(url):
            return
        time.sleep(0.3)
    raise SwathError(f"{name} did not answer at {url} within {_START_LIMIT} s; read {_log(name)}.")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _processes(services: Services) -> list[psutil.Process]:
    """By session, which Airflow's servers keep though they overwrite their environment with a title, or by the
    environment, which tasks keep though they start sessions of their own."""
    sessions = _sessions(services)
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            if os.getsid(process.pid) in sessions or process.environ().get(INSTANCE) == services.instance:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError):
            continue
    return found


def _sessions(services: Services) -> set[int]:
    """Those of its sessions that no stranger has the number of; what is left of one may outlive its leader."""
    if services.booted not in (_booted(), psutil.boot_time()):
        return set()
    each = zip_longest(services.sessions, services.began)  # a record of an older version tells no times
    return {session for session, began in each if not _another(session, began)}


def _booted() -> str | float:
    """What the time since the last start of the machine is known by; the time of it moves when the clock is set."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return float(psutil.boot_time())


def _age(session: int) -> float:
    """Seconds from the start of the machine to that of the process, wherever the clock was set in between."""
    return float(psutil.Process(session).create_time() - psutil.boot_time())


def _another(session: int, began: float | None) -> bool:
    """Whether the process of that number is not the one that began then; an older version told the time of day."""
    try:
        times = (_age(session), psutil.Process(session).create_time())
        return began is not None and min(abs(time - began) for time in times) > _CLOCK
    except psutil.NoSuchProcess:
        return False


def _lives(session: int) -> bool:
    """Whether the process that leads a session does, and is more than a name in its parent's list."""
    try:
        return bool(psutil.Process(session).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _record() -> Path:
    return settings().home / "services.json"


def _log(name: str) -> Path:
    return settings().home / "logs" / f"{name}.log"


def _kept_secret(home: Path, name: str, fernet: bool = False) -> str:
    """A random secret that stays the same for this ``SWATH_HOME``, readable by its owner alone."""
    path = home / "airflow" / "secrets" / name
    if not path.exists() or not path.read_text(encoding="utf-8"):
        value = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() if fernet else secrets.token_urlsafe(24)
        with replacing(path) as draft:
            draft.touch(mode=0o600)
            draft.write_text(value, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _free_port(variable: str, usual: int) -> int:
    if asked := os.environ.get(variable):
        return int(asked)
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SwathError("No free port on 127.0.0.1; close something, or set SWATH_AIRFLOW_PORT and SWATH_MLFLOW_PORT.")
