"""Which run of Airflow a process works for."""

from __future__ import annotations

import os

RUN = "SWATH_RUN"


def airflow_run() -> str | None:
    """``DAG/RUN``, as the operator says in ``SWATH_RUN``; ``None`` at a desk."""
    return os.environ.get(RUN) or None
