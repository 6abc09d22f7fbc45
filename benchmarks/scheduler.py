"""What Airflow itself takes: to parse our DAGs, and between the tasks of a run of more and more mapped ones.

    python -m benchmarks.scheduler [--widths 10,100]

Starts the embedded system in a folder of its own, with our DAGs and one whose mapped tasks do nothing, and reads the
times in Airflow's database. Seconds, so of use on an idle machine only; some two minutes by default, and half an hour
for the 1,000 shards that our DAGs make at most.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
import psutil

from pipelines.errors import SwathError
from pipelines.local.airflow_api import Airflow
from pipelines.local.chain import CHAIN
from pipelines.local.services import Services, start, stop

ROOT = Path(__file__).parents[1]
MAPPED = "mapped"
_PARTS = ("mlflow", "api-server", "scheduler", "dag-processor", "triggerer")  # as the services are started
_LIMIT = 10  # seconds for a task


@dataclass(frozen=True)
class Latency:
    """Of one run; seconds."""

    tasks: int
    first: float  # from the end of the task before to the start of the first mapped one
    between: float  # that a slot is empty between two tasks, on average
    last: float  # from the end of the last mapped one to the start of the task after
    task: float  # that the process of a task which does nothing takes
    scheduler: float  # processor seconds of the scheduler, without its workers
    server: float  # processor seconds of the api-server
    megabytes: float  # resident, of the scheduler


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--widths", default="10,100", help="mapped tasks in a run, by commas; 1,000 at most")
    widths = [int(width) for width in asked.parse_args().widths.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        checkout, home = Path(scratch) / "checkout", Path(scratch) / "home"
        shutil.copytree(ROOT / "dags", checkout / "dags")
        shutil.copy(Path(__file__).parent / "scales" / f"{MAPPED}.py", checkout / "dags")
        (checkout / "plugins").symlink_to(ROOT / "plugins")
        for name in [name for name in os.environ if name.startswith(("SWATH_", "MLFLOW_", "AIRFLOW"))]:
            del os.environ[name]
        os.environ["SWATH_HOME"] = str(home)
        try:
            services = start(checkout, print)
            airflow = Airflow(services)
            airflow.wait_for_dags([*CHAIN, MAPPED])
            database = home / "airflow" / "airflow.db"
            parsed = _read(database, "select dag_id, last_parse_duration from dag")["last_parse_duration"]
            print(f"parsing a file of DAGs: {parsed.median():.3f} s, at most {parsed.max():.3f} s; {len(parsed)} files")
            airflow.unpause(MAPPED)
            found = [measured(airflow, services, database, width) for width in widths]
        finally:
            stop()
    print(pd.DataFrame(found).round(2).to_string(index=False))


def measured(airflow: Airflow, services: Services, database: Path, width: int) -> Latency:
    """Run ``MAPPED`` once with ``width`` tasks. Raises ``SwathError`` if it does not succeed."""
    scheduler, server = (psutil.Process(services.sessions[_PARTS.index(name)]) for name in ("scheduler", "api-server"))
    before = _busy(scheduler), _busy(server)
    run = airflow.trigger(MAPPED, {"width": width})
    deadline = time.monotonic() + 60 + _LIMIT * width
    while (state := airflow.run(MAPPED, run)["state"]) in ("queued", "running"):
        if time.monotonic() > deadline:
            raise SwathError(f"A run of {width} tasks that do nothing took more than {_LIMIT} s a task.")
        time.sleep(1)
    if state != "success":
        raise SwathError(f"A run of {width} tasks that do nothing ended as {state}; see Airflow's logs.")
    used = _busy(scheduler) - before[0], _busy(server) - before[1]
    columns = "select task_id, start_date, end_date from task_instance where dag_id = ? and run_id = ?"
    tasks = _read(database, columns, MAPPED, run)
    times = tasks[["start_date", "end_date"]].map(lambda text: datetime.fromisoformat(text).timestamp())
    ran = times[tasks["task_id"] == "shard"]
    plan, publish = (times[tasks["task_id"] == name].iloc[0] for name in ("plan", "publish"))
    lengths = ran["end_date"] - ran["start_date"]
    span = ran["end_date"].max() - ran["start_date"].min()
    slots = min(width, max(2, min(os.cpu_count() or 2, 8)))
    return Latency(
        tasks=len(ran),
        first=ran["start_date"].min() - plan["end_date"],
        between=(slots * span - lengths.sum()) / len(ran),
        last=publish["start_date"] - ran["end_date"].max(),
        task=statistics.median(lengths),
        scheduler=used[0],
        server=used[1],
        megabytes=scheduler.memory_info().rss / 1e6,
    )


def _busy(process: psutil.Process) -> float:
    """Processor seconds of a process alone, not of its children."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _read(database: Path, query: str, *values: str) -> pd.DataFrame:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return pd.read_sql_query(query, connection, params=values)


if __name__ == "__main__":
    main()
