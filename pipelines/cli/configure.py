"""``swath configure``: an overlay becomes the project's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.result import emit
from pipelines.config import load_params, merged_params
from pipelines.errors import BadData
from pipelines.files import replacing

app = typer.Typer()
SHIPPED = "sample"  # the project of the params.yaml that examples are written to be laid over


@app.command()
def configure(overlay: Annotated[Path, typer.Argument(help="Such as examples/amazon-forest.yaml.")]) -> None:
    """Lay an overlay over params.yaml, for good and for every command; it is left as it is if a value is wrong."""
    params = Path("params.yaml").resolve()
    former = load_params(params, "params.yaml").project
    with replacing(params) as draft:
        draft.write_text(merged_params(params, overlay), encoding="utf-8")
        project = load_params(draft, f"params.yaml with {overlay} over it").project
        if former not in (SHIPPED, project):
            raise BadData(
                f"params.yaml is that of {former}, of which {project} would keep what {overlay} does not name; put the "
                "one that Swath comes with back first, such as by `git checkout`."
            )
    emit({"project": project})
