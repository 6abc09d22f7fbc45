"""The environment: names that nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pipelines.doctor.finding import Finding, fine, warning

# Every SWATH_ variable that anything reads; tests/doctor holds this list against the sources.
KNOWN = frozenset(
    [
        "SWATH_ADMIN_PASSWORD",
        "SWATH_AIRFLOW_DB",
        "SWATH_AIRFLOW_PAGE",
        "SWATH_AIRFLOW_PORT",
        "SWATH_BASEMAP",
        "SWATH_CATALOG",
        "SWATH_CPU_QUEUES",
        "SWATH_CPU_TASKS",
        "SWATH_DATA",
        "SWATH_DVC_CACHE",
        "SWATH_DVC_REMOTE",
        "SWATH_GIT_BRANCH",
        "SWATH_GIT_INTERVAL",
        "SWATH_GIT_REMOTE",
        "SWATH_HOME",
        "SWATH_INSTANCE",
        "SWATH_IO_TASKS",
        "SWATH_LATE_HOURS",
        "SWATH_LIFELINE",
        "SWATH_LINKS",
        "SWATH_LOCK",
        "SWATH_MLFLOW_HOST",
        "SWATH_MLFLOW_PAGE",
        "SWATH_MLFLOW_PORT",
        "SWATH_NOTIFIERS",
        "SWATH_POSTGRES_MEMORY",
        "SWATH_PREDICTIONS",
        "SWATH_PERSON",
        "SWATH_PROGRESS",
        "SWATH_PYTHON",
        "SWATH_REDIS_MEMORY",
        "SWATH_REPORTS",
        "SWATH_RESULT",
        "SWATH_RETRY_SECONDS",
        "SWATH_REVISION",
        "SWATH_RUN",
        "SWATH_S3_MEMORY",
        "SWATH_SCHEDULE",
        "SWATH_SERVICE_MEMORY",
        "SWATH_STATSD_HOST",
        "SWATH_STATSD_ON",
        "SWATH_STATSD_PORT",
        "SWATH_STORE",
        "SWATH_STORE_CACHE",
        "SWATH_VIEW",
        "SWATH_WORKER_CPUS",
        "SWATH_WORKER_MEMORY",
    ]
)


def unknown(environment: Mapping[str, str]) -> list[Finding]:
    """``SWATH_`` variables that are set and that nothing reads, with the name that was probably meant."""
    ours = sorted(name for name in environment if name.startswith("SWATH_"))
    findings = []
    for name in ours:
        if name not in KNOWN:
            meant = difflib.get_close_matches(name, KNOWN, n=1)
            do = (
                f"Write {meant[0]}, or unset it."
                if meant
                else "Unset it; README.md and docs/production.md list those that there are."
            )
            findings.append(warning("Variables", f"{name} is set and nothing reads it.", do))
    return findings or [fine("Variables", f"{len(ours)} of Swath are set, all known")]
