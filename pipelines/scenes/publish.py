"""Staged scenes into the catalog, one rename each."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.files import alone, read_json, sha256
from pipelines.scenes import catalog as catalogs
from pipelines.scenes import quarantine
from pipelines.scenes.staging import Plan, folder


def publish(catalog: Path, project: str, plan: Plan) -> tuple[list[str], int, str]:
    """Move what is staged for ``plan`` into the catalog and list it there.

    Returns the ids of the plan's scenes that the catalog now has, how many scenes that has in all, and their state.
    Killed at any moment and started again it ends in the same state: each scene is moved whole, and the index is
    written last.
    """
    staging = folder(catalog, plan.run)
    with alone(catalog / ".lock"):
        for candidate in plan.scenes:
            if not staged(staging, candidate.id, candidate.fingerprint):  # left of an earlier plan, and not checked
                continue
            _move(
                staging / "scenes" / candidate.id, catalog / "scenes" / candidate.id, staging / "former" / candidate.id
            )
        count, state, damaged = catalogs.write_index(catalog, project)
        for path, reason in damaged.items():
            where = {"id": path.stem, "source": path.as_posix(), "fingerprint": f"damaged {sha256(path)}"}
            quarantine.put(catalog, stage="publish", reason=reason, **where)
    published = [c.id for c in plan.scenes if catalogs.fingerprint(catalog, c.id) == c.fingerprint]
    for id in published:
        quarantine.lift(catalog, id)
    return published, count, state


def staged(staging: Path, id: str, fingerprint: str) -> bool:
    """Whether scene ``id`` of this very source is complete in the staging folder."""
    item = staging / "scenes" / id / f"{id}.json"
    return item.exists() and read_json(item)["properties"]["swath:fingerprint"] == fingerprint


def _move(staged: Path, target: Path, former: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        former.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(former, ignore_errors=True)
        target.rename(former)
    staged.rename(target)
