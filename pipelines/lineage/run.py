"""Which run of Airflow a process works for."""

from __future__ import annotations

import os

RUN, PERSON = "SWATH_RUN", "SWATH_PERSON"


def airflow_run() -> str | None:
    """``DAG/RUN``, as the operator says in ``SWATH_RUN``; ``None`` at a desk."""
    return os.environ.get(RUN) or None


def triggered_by() -> str | None:
    """Whoever triggered that run by hand, as the operator says in ``SWATH_PERSON``; ``None`` if nobody did."""
    return os.environ.get(PERSON) or None
