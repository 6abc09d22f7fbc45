"""Numbers from the environment, for code that Airflow imports: a mistyped one is no reason for all DAGs to vanish."""

from __future__ import annotations

import logging
import math
import os

log = logging.getLogger(__name__)


def number(variable: str, default: float, least: float) -> float:
    """The value of an environment variable; ``default`` where it is not set, no number, or below ``least``."""
    told = os.environ.get(variable) or str(default)
    try:
        value = float(told)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= least:
        return value
    log.error("%s is %r, and must be a number of at least %g; %g is taken.", variable, told, least, default)
    return default
