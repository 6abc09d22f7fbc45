"""Maps: any raster at a desk, and the catalog's scenes by shard."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pipelines.cli.result import emit
from pipelines.config import load_params, settings
from pipelines.config.params import Also
from pipelines.depot import bring, send
from pipelines.errors import BadData

if TYPE_CHECKING:
    from pipelines.bundle.contract import Contract
    from pipelines.inference.predict import Recorder
    from pipelines.scenes.scene import Scene

app = typer.Typer()
group = typer.Typer(help="Map the catalog's scenes with the champion: plan, then each shard, then publish.")
app.add_typer(group, name="map")
log = logging.getLogger(__name__)

Run = Annotated[str, typer.Option(help="Id of the run; names its staging folder.")]


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="models:/NAME@champion, models:/NAME/3, runs:/RUN or a bundle folder.")],
    rasters: Annotated[list[Path], typer.Argument(help="GeoTIFFs with the model's bands.")],
    out: Annotated[Path, typer.Option(help="Folder for the maps; each raster gets a folder of its own in it.")],
    max_memory: Annotated[str, typer.Option(help="Of the whole process, such as 2GB.")] = "2GB",
    window: Annotated[int | None, typer.Option(help="Pixels; default: the model's.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels; default: the model's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Most windows at once; default: the model's.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="probabilities, entropy or polygons; may be repeated.")] = None,
    simplify: Annotated[float, typer.Option(min=0, help="Pixels by which outlines of polygons may move.")] = 0.0,
    averaged: Annotated[
        list[str] | None, typer.Option("--with", help="Another model to average with; may be repeated.")
    ] = None,
) -> None:
    """Map any GeoTIFF: class and confidence COGs and a STAC item each; where models disagree too, if there are more."""
    from pipelines.bundle.store import open_bundle
    from pipelines.inference.ensemble import Ensemble
    from pipelines.inference.item import require_room
    from pipelines.inference.memory import parse_size
    from pipelines.inference.predict import Tiling
    from pipelines.inference.predict import predict as map_raster
    from pipelines.inference.raster import of_file
    from pipelines.inference.runtime import Runtime

    wanted = _also(also)
    names = [path.stem for path in rasters]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise BadData(f"Several rasters are called {', '.join(doubled)}; predict them into different folders.")
    bundle = open_bundle(model)
    contract = bundle.contract
    bytes_at_most = parse_size(max_memory)
    others = [open_bundle(name) for name in averaged or ()]
    runtime = Ensemble([bundle, *others]) if others else Runtime(bundle)
    tiling = Tiling.of(contract, runtime, bytes_at_most, window, overlap, batch)
    mapped, failed = [], {}
    for path in rasters:
        try:
            raster = of_file(path, contract)
            for other in others:
                of_file(path, other.contract)  # says what it does not take
            target = out.absolute() / path.stem
            require_room(target, [path])
            mapped.append(map_raster(raster, bundle, runtime, target, tiling, also=wanted, simplify=simplify))
        except BadData as error:
            failed[str(path)] = str(error)
    emit(
        {
            "model": bundle.uri,
            "mapped": [str(out / one.id) for one in mapped],
            "failed": failed,
            "megapixels": round(sum(one.megapixels for one in mapped), 3),
            "seconds": round(sum(one.seconds for one in mapped), 3),
        }
    )
    if failed:
        raise BadData("\n".join(failed.values()))


@app.command()
def mosaic(
    maps: Annotated[list[Path], typer.Argument(help="Folders of maps with probabilities, all by one model.")],
    out: Annotated[Path, typer.Option(help="Folder of the mosaic.")],
    crs: Annotated[str | None, typer.Option(help="Such as EPSG:32633; default: that of most of the maps.")] = None,
    resolution: Annotated[float | None, typer.Option(min=1e-9, help="In units of the CRS; default: the maps'.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="probabilities, entropy or polygons; may be repeated.")] = None,
    simplify: Annotated[float, typer.Option(min=0, help="Pixels by which outlines of polygons may move.")] = 0.0,
) -> None:
    """Join maps into one: probabilities are warped and averaged, then the likeliest class is taken."""
    from pipelines.inference.mosaic import mosaic as join

    emit(join(maps, out, crs, resolution, _also(also), simplify).model_dump())


@app.command()
def areas(
    model: Annotated[str, typer.Argument(help="The model that made the maps, or its bundle folder.")],
    maps: Annotated[list[Path], typer.Argument(help="Folders of maps that do not overlap, or of one mosaic.")],
) -> None:
    """Hectares of each class: as mapped, and as the test's errors say they truly are, with intervals."""
    import numpy as np

    from pipelines.bundle.contract import SCORES
    from pipelines.bundle.store import open_bundle
    from pipelines.evaluation.areas import areas as estimated
    from pipelines.evaluation.score import by, read_blocks
    from pipelines.inference.item import hectares, require_apart

    bundle = open_bundle(model)
    if bundle.contract.task == "detection":
        raise BadData("Areas are those of classes of pixels; count the objects of a detector instead.")
    names = [c.name for c in bundle.contract.classes]
    shown = [hectares(folder, bundle.digest) for folder in maps]
    require_apart(maps)
    mapped = np.array([sum(one[name] for one in shown) for name in names])
    counts = by(read_blocks(bundle.folder / SCORES), "block_id", len(names))[1]
    emit({"hectares": estimated(counts, mapped, names, load_params().evaluate)})


def _also(asked: list[str] | None) -> list[Also]:
    words = get_args(Also)
    if unknown := sorted(set(asked or []) - set(words)):
        raise BadData(f"--also {unknown[0]} is none of {', '.join(words)}; correct it.")
    return [word for word in words if word in (asked or [])]


@group.command()
def plan(run: Run) -> None:
    """Find the scenes that the champion has not mapped."""
    from pipelines.bundle.store import champion, open_bundle, registered
    from pipelines.inference.plan import PLAN, staging, version_folder, write_plan
    from pipelines.scenes.catalog import read_scenes

    params, here = load_params(), settings()
    version = champion(params.project)
    if version is None:
        emit({"todo": 0, "shards": 0, "version": None, "reason": f"{params.project} has no champion yet"})
        return
    predictions, catalog = here.predictions / params.project, here.catalog / params.project
    bring(catalog / "catalog.json", catalog / "scenes")
    bring(version_folder(predictions, version), staging(predictions, run) / PLAN)
    scenes = read_scenes(catalog)
    model = f"models:/{params.project}/{version}"
    digest = registered(params.project, version)[2] or open_bundle(model).digest
    asked = params.predict
    made = write_plan(predictions, run, version, model, digest, scenes, asked.shard, asked.also, asked.simplify)
    emit({"version": version, "todo": made.todo, "shards": len(made.shards)})


@group.command()
def shard(run: Run, shard: Annotated[int, typer.Option(min=0, help="Number of the shard, from 0.")]) -> None:
    """Map the scenes of one shard of the plan."""
    from pipelines.bundle.store import open_bundle
    from pipelines.inference.memory import parse_size
    from pipelines.inference.plan import FAILED, PLAN, begun, map_shard, one_by_one, read_plan, staging, version_folder
    from pipelines.monitoring.profile import SceneProfile
    from pipelines.scenes.catalog import read_scene

    params, here = load_params(), settings()
    predictions, catalog = here.predictions / params.project, here.catalog / params.project
    bring(staging(predictions, run) / PLAN, staging(predictions, run) / f"shard-{shard}.json")
    planned = read_plan(predictions, run)
    if planned.model is None or shard >= len(planned.shards):
        raise BadData(f"The plan of run {run!r} has {len(planned.shards)} shards, so there is no shard {shard}.")

    def profile(scene: Scene, contract: Contract) -> Recorder:
        classes = [c.name for c in contract.classes]
        return SceneProfile(contract.band_names, classes, params.drift.sample, (scene.height, scene.width), scene)

    ids, maps = planned.shards[shard], version_folder(predictions, planned.version or 0)
    bring(*(catalog / "scenes" / id for id in ids), *(maps / id for id in ids))
    bring(*(maps / FAILED / f"{id}.json" for id in ids), begun(predictions, run))
    # what is sent is each map, before the next one is begun
    scenes = (read_scene(catalog, id) for id in one_by_one(predictions, run, ids, send))
    result = map_shard(
        predictions,
        run,
        shard,
        scenes,
        catalog,
        open_bundle(planned.model),
        parse_size(params.predict.max_memory),
        recorder=profile,
        also=params.predict.also,
        simplify=params.predict.simplify,
    )
    for failure in result.failed:
        log.warning("%s was not mapped: %s", failure.scene, failure.reason)
    emit(
        {
            "mapped": len(result.mapped),
            "failed": [{"scene": failure.scene, "reason": failure.reason} for failure in result.failed],
            "seconds": round(result.seconds, 3),
            "megapixels": round(result.megapixels, 3),
        }
    )


@group.command()
def publish(run: Run) -> None:
    """List the maps of the run in the catalog of predictions."""
    from pipelines.bundle.store import champion
    from pipelines.inference.plan import publish as publish_maps

    params = load_params()
    predictions = settings().predictions / params.project
    bring(predictions)
    bring(predictions)  # once more: the maps to be listed, which the index that is replaced must not be newer than
    if champion(params.project) is None:
        emit(
            {"changed": False, "mapped": 0, "failed": 0, "total": 0, "reason": f"{params.project} has no champion yet"}
        )
        return
    emit(publish_maps(predictions, params.project, run))
