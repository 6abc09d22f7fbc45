"""What one run of ingestion means to do, and the folder where it prepares its scenes."""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.scenes.area import Bounds
from pipelines.scenes.candidate import Candidate

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,249}")


class Plan(BaseModel):
    """The scenes that a run will fetch, in shards of ``shard``."""

    model_config = ConfigDict(frozen=True)

    run: str
    when: datetime
    area: Bounds | None
    shard: int
    former: str  # digest of the catalog before the run
    refused: int  # offered by the source, but in quarantine before anything was fetched
    scenes: tuple[Candidate, ...]

    @property
    def shards(self) -> int:
        return -(-len(self.scenes) // self.shard)

    def of_shard(self, number: int) -> tuple[Candidate, ...]:
        """The scenes of shard ``number``, counted from 0. Raises ``BadData`` if there is no such shard."""
        if not 0 <= number < self.shards:
            raise BadData(f"Run {self.run} has the shards 0 to {self.shards - 1}, not {number}.")
        return self.scenes[number * self.shard : (number + 1) * self.shard]


def folder(catalog: Path, run: str) -> Path:
    """The staging folder of ``run``; below it, scenes lie as they do in the catalog. Raises ``BadData``."""
    if not _RUN.fullmatch(run) or ".." in run:
        raise BadData(f"The run id {run!r} cannot name a folder; use letters, digits and '_.:+-'.")
    return catalog / "staging" / run


def write_plan(catalog: Path, plan: Plan) -> None:
    """Write the plan, and beside it that of each shard: a thousand tasks that each read the whole would cost more than
    to fetch small scenes."""
    place = folder(catalog, plan.run)
    shutil.rmtree(place / "shards", ignore_errors=True)
    for number in range(plan.shards):
        part = plan.model_copy(update={"scenes": plan.of_shard(number)})
        write_json(shard_path(catalog, plan.run, number), part.model_dump(mode="json"))
    write_json(place / "plan.json", plan.model_dump(mode="json"))


def read_plan(catalog: Path, run: str) -> Plan:
    try:
        return Plan.model_validate(read_json(folder(catalog, run) / "plan.json"))
    except FileNotFoundError:
        raise BadData(f"Run {run} has no plan; start with `swath ingest search --run {run}`.") from None


def read_shard(catalog: Path, run: str, number: int) -> Plan:
    """The plan of ``run`` with the scenes of shard ``number`` alone. Raises ``BadData`` if there is no such shard."""
    if (path := shard_path(catalog, run, number)).exists():
        return Plan.model_validate(read_json(path))
    plan = read_plan(catalog, run)
    return plan.model_copy(update={"scenes": plan.of_shard(number)})


def shard_path(catalog: Path, run: str, number: int) -> Path:
    """Where the plan of one shard lies."""
    return folder(catalog, run) / "shards" / f"{number}.json"


def rows_folder(staging: Path) -> Path:
    """Where the table rows of fetched scenes wait for the checks: one file a scene, kept when the scene fails."""
    return staging / "rows"


def read_rows(staging: Path, scenes: tuple[Candidate, ...]) -> list[dict[str, Any]]:
    """The rows of those of ``scenes`` that were fetched, in their order."""
    paths = {scene.fingerprint: rows_folder(staging) / f"{scene.id}.json" for scene in scenes}
    rows = [(fingerprint, read_json(path)) for fingerprint, path in paths.items() if path.exists()]
    return [row for fingerprint, row in rows if row["fingerprint"] == fingerprint]
