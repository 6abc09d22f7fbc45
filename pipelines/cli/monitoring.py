"""Watching for drift: the training reference, and the four steps of a watch over the champion's maps."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.result import emit
from pipelines.config import Params, load_params, settings
from pipelines.depot import address, bring
from pipelines.errors import BadData

if TYPE_CHECKING:
    from pipelines.monitoring.drift import Comparison

app = typer.Typer()
drift = typer.Typer(no_args_is_help=True, help="Watch whether scenes still look like those the champion learned from.")
app.add_typer(drift, name="drift")

Run = Annotated[str, typer.Option(help="Name of the run; its results lie in REPORTS/PROJECT/drift/RUN.")]


@app.command()
def profile() -> None:
    """DVC stage: profile the train split's pixels by season and zone, as the reference of later scenes."""
    from pipelines.dataset.shards import ChipStore
    from pipelines.monitoring.chips import chip_samples
    from pipelines.monitoring.looks import chip_looks
    from pipelines.monitoring.reference import write_reference

    params = load_params()
    store = ChipStore(Path("data/chips"))
    entries = write_reference(Path("data/reference"), chip_samples(store, params.drift.sample), params.drift.by)
    chip_looks(store).write(Path("data/reference"))
    emit({"profiles": len(entries), "scenes": max(e.scenes for e in entries), "pixels": max(e.pixels for e in entries)})


@drift.command("profile")
def collect_profiles(run: Run) -> None:
    """Collect the profiles of the champion's maps and merge the latest by season and zone."""
    from pipelines.bundle.store import champion
    from pipelines.monitoring.watch import collect

    params = load_params()
    number = champion(params.project)
    version = None if number is None else str(number)
    _bring(params, version, run)
    found = collect(_maps(params, version), version, _folder(params, run), params.drift)
    emit({"version": version, "scenes": len(found.scenes), "unreadable": len(found.unreadable)})


@drift.command("compare")
def compare_profiles(run: Run) -> None:
    """Compare them with the reference of the model that made the maps."""
    from pipelines.bundle.contract import REFERENCE
    from pipelines.bundle.store import open_bundle
    from pipelines.monitoring.watch import collected, compare_run

    params = load_params()
    folder = _folder(params, run)
    bring(folder)
    version = collected(folder).version
    _bring(params, version, run)
    reference = open_bundle(f"models:/{params.project}/{version}").folder / REFERENCE if version else None
    comparison = compare_run(_maps(params, version), reference, folder, params.drift)
    odd = [scene.name for scene in comparison.scenes if scene.odd]
    emit(
        {
            "version": version,
            "scenes": len(comparison.scenes),
            "odd": len(odd),
            "reference": comparison.has_reference,
            "distances": _largest(comparison),
        }
    )


@drift.command("report")
def write_page(run: Run) -> None:
    """Write the page, and the labelling queue: the places most worth labels, as GeoJSON with image chips."""
    from pipelines.bundle.contract import REFERENCE
    from pipelines.bundle.store import open_bundle
    from pipelines.monitoring.looks import Looks, read_looks
    from pipelines.monitoring.watch import collected, report_run

    params = load_params()
    folder = _folder(params, run)
    bring(folder)
    version = collected(folder).version
    bundle = open_bundle(f"models:/{params.project}/{version}") if version else None
    known = read_looks(bundle.folder / REFERENCE / "inputs") if bundle else None
    bands = bundle.contract.band_names if bundle else tuple(params.scenes.image_bands)
    page, verdict = report_run(
        _maps(params, version),
        settings().catalog / params.project,
        known or Looks.none(bands),
        folder,
        params.drift,
        project=params.project,
    )
    emit({"report": address(page), "verdict": verdict.verdict, "sentence": verdict.sentence})


@drift.command("decide")
def decide(run: Run) -> None:
    """State the verdict; drift calls for a training, once a cooldown."""
    from pipelines.monitoring.watch import decide_run

    params = load_params()
    folder = _folder(params, run)
    bring(folder, folder.parent / "retrain.json", at_once=(".json", ".html"))
    said = decide_run(folder, folder.parent / "retrain.json", params.drift, datetime.now(UTC))
    small = {name: said[name] for name in ("verdict", "sentence", "retrain", "features", "report", "version")}
    emit(small | {"project": params.project, "changed": said["retrain"], "reason": said["sentence"]})


def _largest(comparison: Comparison) -> dict[str, float]:
    """Of each feature the largest distance among the groups' latest scenes, in times of its limit."""
    found: dict[str, float] = {}
    for group in comparison.groups:
        for feature, distance in group.distances.items():
            times = round(distance / group.limits[feature], 4)
            found[feature] = max(times, found.get(feature, 0.0))
    return found


def _bring(params: Params, version: str | None, run: str) -> None:
    """What runs of the watch read: the profiles of the version's maps, and what this run has found so far."""
    bring(_maps(params, version), _folder(params, run), at_once=(".json", ".bin"))


def _folder(params: Params, run: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,199}", run):
        raise BadData(f"{run!r} is no name for a run; use letters, digits and _ . : + - only.")
    return settings().reports / params.project / "drift" / run


def _maps(params: Params, version: str | None) -> Path:
    return settings().predictions / params.project / f"v{version}"
