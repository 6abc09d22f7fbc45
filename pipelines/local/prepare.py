"""What a chain needs before its first DAG starts: a commit to run at, and data to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.config import Params, load_params, settings
from pipelines.errors import BadData
from pipelines.files import named
from pipelines.sample.region import Order, make_region
from pipelines.workspace.source import pin
from pipelines.workspace.workspace import close_workspace, open_workspace


def prepare(checkout: Path, overlay: Path | None, say: Callable[[str], None]) -> str:
    """Pin the working tree with ``overlay``, make the sample region if that is what it reads; returns the commit.

    Raises ``BadData`` where the folder that the scenes or labels shall come from does not exist.
    """
    pinned = pin(checkout, overlay)
    say(f"Revision {pinned.commit[:12]}" + (", with edits that are not committed yet" if pinned.edited else ""))
    params = _params(pinned.commit, f"params.yaml with {overlay} over it" if overlay else "params.yaml")
    sample = settings().home / "sample"
    if params.scenes.source == str(sample / "catalog.json"):
        say("The sample region is made, or found")
        make_region(sample, Order())
    for name, source in (("scenes", params.scenes.source), ("labels", params.labels.source)):
        if Path(source).is_absolute() and not any(path.exists() for path in named(source)[1]):
            where = f"the head of {overlay} says where to get it" if overlay else "correct params.yaml"
            raise BadData(f"The {name} shall come from {source}, which does not exist; {where}.")
    return pinned.commit


def _params(commit: str, called: str) -> Params:
    name = f"pin-{commit[:12]}"
    try:
        return load_params(open_workspace(name, commit) / "params.yaml", called)
    finally:
        close_workspace(name)
