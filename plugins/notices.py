"""Where failures are told: the log, and the file behind the page."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from pipelines.config import settings
from pipelines.files import write_json

log = logging.getLogger(__name__)


def tell_failure(context: Any) -> None:
    """Keep what failed, where and why, for people who look at the page and not at the log."""
    ti = context["ti"]
    notice = {
        "dag": ti.dag_id,
        "task": ti.task_id,
        "run": ti.run_id,
        "why": str(context.get("exception") or "no reason was given"),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    log.error("%(dag)s.%(task)s failed in %(run)s: %(why)s", notice)
    write_json(settings().home / "notices" / f"{ti.id}.json", notice)
