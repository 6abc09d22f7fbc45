"""Where a map comes from, and the same map once more."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.result import emit
from pipelines.depot import named
from pipelines.errors import BadData

app = typer.Typer()

Map = Annotated[Path, typer.Argument(help="Any file of a map or of a mosaic, or its folder; an s3:// address too.")]


@app.command()
def explain(map: Map) -> None:
    """Say which model, data, scenes, code, decisions and runs are behind a map, and what of it cannot be reached."""
    from pipelines.audit.explain import explain as explained
    from pipelines.audit.show import show_explanation

    found = explained(named(map))
    emit(found.model_dump(mode="json"))
    show_explanation(found)


@app.command()
def replay(
    map: Map,
    image: Annotated[Path | None, typer.Option(help="Where the mapped file is now, if it was moved.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep the new map in; default: none.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Such as 4GB; default: as the first time.")] = None,
) -> None:
    """Make a map again from its model and image, and say whether the bytes agree."""
    from pipelines.audit.replay import replay as replayed
    from pipelines.audit.show import show_replay
    from pipelines.inference.memory import parse_size

    with tempfile.TemporaryDirectory(prefix="swath-replay-") as scratch:
        made = replayed(named(map), keep or Path(scratch), image, parse_size(max_memory) if max_memory else None)
    emit(made.model_dump(mode="json"))
    show_replay(made)
    if not made.agrees:
        raise BadData(made.verdict)
