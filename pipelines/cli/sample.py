"""``swath sample``: make the built-in sample region, or add drifted scenes to it."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer()


@app.command()
def sample(
    out: Path = typer.Option(..., help="Folder of the region; made where it is missing, added to where it is there."),
    size: int = typer.Option(1024, min=64, max=10_980, help="Pixels of 10 m along each side of a place."),
    scenes: int = typer.Option(6, min=0, help="Scenes over the two labelled places, in turn."),
    seed: int = typer.Option(0, min=0, help="Decides the land and the sky; the same seed gives the same bytes."),
    unlabelled: int = typer.Option(1, min=0, help="Scenes more, over a third place that has no labels."),
    drift: str | None = typer.Option(
        None,
        metavar="KIND:STRENGTH",
        help="Make these scenes two years later and drifted: gain, offset, haze, noise, bandswap, season, blur or "
        "shift, with a strength of 0 to 2, as in haze:0.5.",
    ),
) -> None:
    """Make land, scenes and labels by code: no network, and the truth is known."""
    from pipelines.cli.result import emit
    from pipelines.sample.drift import NONE, parse_drift
    from pipelines.sample.region import Order, make_region

    asked = parse_drift(drift) if drift else NONE
    emit(make_region(out, Order(size=size, seed=seed, scenes=scenes, unlabelled=unlabelled, drift=asked)))
