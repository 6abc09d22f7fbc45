"""Watching a git branch for changes that the pipeline has to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from pipelines.errors import SwathError
from pipelines.workspace.changes import relevant_changes, tip
from plugins.numbers import number

_SEEN = "seen"
_ON_ITS_WAY = 10.0  # seconds; an event lies in the triggerer's memory for one or two, until Airflow's database has it


class GitPushTrigger(BaseEventTrigger):
    """Fires once for each move of the watched branch that touches parameters, stages, locks or tracked data.

    The last commit that it has dealt with is kept in Airflow's asset store, so a restarted triggerer goes on where
    the former one stopped. A burst of pushes between two looks is one event, at the newest commit. The first look
    at a branch only takes note of it.
    """

    def __init__(self, interval: float | None = None) -> None:
        super().__init__()
        self.interval = interval or number("SWATH_GIT_INTERVAL", 20, least=1)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "plugins.git_push.GitPushTrigger", {"interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        assert self.asset_state_store is not None
        while True:
            try:
                now = await asyncio.to_thread(tip)
                seen = await self.asset_state_store.aget(_SEEN)
                if now and now != seen:
                    files = await asyncio.to_thread(relevant_changes, str(seen), now) if seen else []
                    if files:
                        self.log.info("Commit %s changes %s", now, ", ".join(files))
                        yield TriggerEvent({"revision": now, "files": files[:50]})
                        # a triggerer that dies meanwhile tells it twice rather than never
                        await asyncio.sleep(_ON_ITS_WAY)
                    await self.asset_state_store.aset(_SEEN, now)
            except SwathError as error:
                self.log.warning("The watched repository cannot be read now, the next look is in a moment: %s", error)
            await asyncio.sleep(self.interval)
