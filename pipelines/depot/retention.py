"""What nobody takes up again goes from the store too."""

from __future__ import annotations

from pipelines.depot.store import store


def forget(before: float, results: float) -> dict[str, int]:
    """Remove notices and staging folders that nobody wrote to since the moment ``before`` (seconds), and what stages
    gave before ``results``; how many went."""
    kinds = {"staging of scenes in the store": "catalog", "staging of maps in the store": "predictions"}
    gone = {kind: sum(_forget(project, before) for project in store().folders(key)) for kind, key in kinds.items()}
    notices = [one.key for one in store().folder("notices") if one.modified < before]
    stages = [one.key for one in store().folder("stages") if one.modified < results]
    store().delete([*notices, *stages])
    return gone | {"notices in the store": len(notices), "results of stages in the store": len(stages)}


def written(key: str) -> float:
    """When something below the folder ``key`` of the store was written last, in seconds."""
    return max((one.modified for one in store().folder(key)), default=0.0)


def _forget(project: str, before: float) -> int:
    gone = 0
    for run in store().folders(f"{project}/staging"):
        found = list(store().folder(run))
        if found and max(one.modified for one in found) < before:
            store().delete(one.key for one in found)
            gone += 1
    return gone
