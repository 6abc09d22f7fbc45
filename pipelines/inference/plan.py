"""Which scenes a model has yet to map, and the shards they are mapped in."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pystac
from pydantic import BaseModel, ConfigDict

from pipelines.bundle.contract import Contract
from pipelines.bundle.store import Bundle
from pipelines.config.params import MOST_SHARDS, Also
from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.inference.item import ITEM, is_map_of
from pipelines.inference.predict import Recorder, Tiling, predict
from pipelines.inference.raster import of_scene
from pipelines.inference.runtime import Runtime
from pipelines.inference.versions import version_folders
from pipelines.scenes.catalog import verify
from pipelines.scenes.scene import Scene

PLAN = "plan.json"  # in the run's own folder
FAILED = "failed"  # folder of a version's maps: why a scene has none


class Plan(BaseModel):
    """``plan.json`` of a run: the model version it maps with, and ids of scenes, a shard at a time."""

    model_config = ConfigDict(frozen=True)

    version: int | None
    model: str | None  # models:/NAME/VERSION
    shards: tuple[tuple[str, ...], ...]

    @property
    def todo(self) -> int:
        return sum(map(len, self.shards))


class Failure(BaseModel):
    """A scene that cannot be mapped by a model, for the bytes it has."""

    model_config = ConfigDict(frozen=True)

    scene: str
    reason: str
    sha256: str
    mask_sha256: str
    model_sha256: str = ""  # notes of earlier releases name none


class ShardResult(BaseModel):
    """What one shard of a run made, by id, for a retry maps in another order."""

    model_config = ConfigDict(frozen=True)

    mapped: tuple[str, ...]
    failed: tuple[Failure, ...]
    seconds: float
    megapixels: float


def version_folder(predictions: Path, version: int) -> Path:
    return predictions / f"v{version}"


def staging(predictions: Path, run: str) -> Path:
    """The run's own folder. Run ids come from outside, so what no file name should hold is replaced."""
    safe = "".join(c if c.isalnum() or c in "-_.+" else "_" for c in run).lstrip(".")
    if not safe:
        raise BadData(f"{run!r} is no name for a run; use letters and digits.")
    return predictions / "staging" / safe


def pending(
    scenes: Iterable[Scene], folder: Path, digest: str, also: Sequence[Also] = (), simplify: float = 0.0
) -> list[str]:
    """Ids of scenes without a map in ``folder`` of the same image and mask by the bundle ``digest`` that has all that
    ``also`` asks for, and not known to fail with these. A registry that begins anew gives out its numbers once more, so
    the version alone says nothing."""
    return [scene.id for scene in scenes if not _settled(scene, folder, digest, also, simplify)]


def write_plan(
    predictions: Path,
    run: str,
    version: int,
    model: str,
    digest: str,
    scenes: Iterable[Scene],
    shard: int,
    also: Sequence[Also] = (),
    simplify: float = 0.0,
) -> Plan:
    """Plan the scenes ``pending`` for the bundle ``digest``, in shards of ``shard``, or larger ones where these
    would be too many."""
    todo = pending(scenes, version_folder(predictions, version), digest, also, simplify)
    shard = max(shard, -(-len(todo) // MOST_SHARDS))
    shards = tuple(tuple(todo[i : i + shard]) for i in range(0, len(todo), shard))
    plan = Plan(version=version, model=model, shards=shards)
    write_json(staging(predictions, run) / PLAN, plan.model_dump(mode="json"))
    return plan


def read_plan(predictions: Path, run: str) -> Plan:
    path = staging(predictions, run) / PLAN
    if not path.exists():
        raise BadData(f"Run {run!r} has no plan at {path}; run `swath map plan --run {run}` first.")
    return Plan.model_validate(read_json(path))


def begun(predictions: Path, run: str) -> Path:
    """The folder with a mark for each scene that ``run`` is mapping, or was mapping when its process ended."""
    return staging(predictions, run) / "begun"


def one_by_one(predictions: Path, run: str, ids: Sequence[str], told: Callable[[], None]) -> Iterator[str]:
    """The scenes ``ids``, each marked as begun until the next one is asked for; ``told`` is called at each mark.

    Last come those at which an earlier attempt ended together with its process, as for want of memory: they may end
    this one too, and shall keep no other from being mapped.
    """
    marks = begun(predictions, run)
    for id in sorted(ids, key=lambda id: os.path.lexists(marks / id)):  # from a store it is a link to what is not here
        marks.mkdir(parents=True, exist_ok=True)
        (marks / id).unlink(missing_ok=True)
        (marks / id).touch()
        told()
        yield id
        (marks / id).unlink(missing_ok=True)
        told()


def map_shard(
    predictions: Path,
    run: str,
    number: int,
    scenes: Iterable[Scene],
    catalog: Path,
    bundle: Bundle,
    max_memory: int,
    recorder: Callable[[Scene, Contract], Recorder] | None = None,
    also: Sequence[Also] = (),
    simplify: float = 0.0,
) -> ShardResult:
    """Map the ``scenes`` of shard ``number``. One that breaks the contract is recorded with its reason and not tried
    again with the same bytes; one that fails for another reason, such as too little memory, is. The rest goes on.

    Scenes that are mapped already, as after a retry, count as mapped. What may pass on a retry is raised.
    """
    assert bundle.version is not None
    contract = bundle.contract
    folder = version_folder(predictions, bundle.version)
    runtime = Runtime(bundle)
    tiling = Tiling.of(contract, runtime, max_memory)
    began = time.monotonic()
    mapped, failed = [], []
    megapixels = 0.0
    for scene in scenes:
        if not is_map_of(folder / scene.id, scene.image_sha256, scene.mask_sha256, bundle.digest, also, simplify):
            lasting = False  # whether the same bytes fail in the same way for ever
            try:
                verify(scene, catalog)
                lasting = True
                raster = of_scene(scene, catalog, contract)
                lasting = False
                observer = recorder(scene, contract) if recorder else None
                target = folder / scene.id
                predict(raster, bundle, runtime, target, tiling, recorder=observer, also=also, simplify=simplify)
            except BadData as error:
                failed.append(_failure(folder, scene, bundle.digest, str(error), lasting))
                continue
        (folder / FAILED / f"{scene.id}.json").unlink(missing_ok=True)
        mapped.append(scene.id)
        megapixels += scene.width * scene.height / 1e6
    result = ShardResult(
        mapped=tuple(sorted(mapped)),
        failed=tuple(sorted(failed, key=lambda failure: failure.scene)),
        seconds=time.monotonic() - began,
        megapixels=megapixels,
    )
    write_json(staging(predictions, run) / f"shard-{number}.json", result.model_dump(mode="json"))
    return result


def publish(predictions: Path, project: str, run: str) -> dict[str, Any]:
    """Write the catalog of all maps, of every version; say what ``run`` added to it.

    Shards that did not end are counted as ``unfinished``, and what they mapped until then is published all the same.
    """
    plan = read_plan(predictions, run)
    paths = [staging(predictions, run) / f"shard-{number}.json" for number in range(len(plan.shards))]
    results = [ShardResult.model_validate(read_json(path)) for path in paths if path.exists()]
    former = _listed(predictions)
    total = write_catalog(predictions, project)
    mapped = sum(len(result.mapped) for result in results)
    return {
        "version": plan.version,
        "mapped": mapped,
        "failed": sum(len(result.failed) for result in results),
        "total": total,
        "unfinished": len(paths) - len(results),
        "changed": mapped > 0 or _listed(predictions) != former,
        "seconds": round(sum(result.seconds for result in results), 3),
        "megapixels": round(sum(result.megapixels for result in results), 3),
    }


def _listed(predictions: Path) -> dict[Path, bytes]:
    """The catalogs as they are: of the project, and of each version."""
    paths = (predictions / "catalog.json", *(folder / "catalog.json" for _, folder in version_folders(predictions)))
    return {path: path.read_bytes() for path in paths if path.exists()}


def write_catalog(predictions: Path, project: str) -> int:
    """Write ``catalog.json`` of the project's maps: a child catalog for each version. Returns the number of maps."""
    root = pystac.Catalog(project, f"Maps of {project}", title=project)
    root.remove_links("root")
    root.add_link(pystac.Link("root", "./catalog.json", media_type="application/json"))
    total = 0
    for _, folder in version_folders(predictions):
        child = pystac.Catalog(f"{project}-{folder.name}", f"Maps of {project} by model {folder.name}")
        child.remove_links("root")
        for rel in ("root", "parent"):
            child.add_link(pystac.Link(rel, "../catalog.json", media_type="application/json"))
        # a link whose bytes this machine has not brought from the store is a map too
        maps = sorted(one.name for one in folder.glob("[!.]*/") if os.path.lexists(one / ITEM))
        for name in maps:
            child.add_link(pystac.Link("item", f"./{name}/{ITEM}", media_type="application/geo+json", title=name))
        total += len(maps)
        write_json(folder / "catalog.json", child.to_dict(include_self_link=False, transform_hrefs=False))
        root.add_link(pystac.Link("child", f"./{folder.name}/catalog.json", media_type="application/json"))
    write_json(predictions / "catalog.json", root.to_dict(include_self_link=False, transform_hrefs=False))
    return total


def _settled(scene: Scene, folder: Path, digest: str, also: Sequence[Also], simplify: float) -> bool:
    now = (scene.image_sha256, scene.mask_sha256, digest)
    if is_map_of(folder / scene.id, *now, also, simplify):
        return True
    note = folder / FAILED / f"{scene.id}.json"
    if not note.exists():
        return False
    failure = Failure.model_validate(read_json(note))
    return (failure.sha256, failure.mask_sha256, failure.model_sha256) == now


def _failure(folder: Path, scene: Scene, digest: str, reason: str, lasting: bool) -> Failure:
    failure = Failure(
        scene=scene.id,
        reason=reason,
        sha256=scene.image_sha256,
        mask_sha256=scene.mask_sha256,
        model_sha256=digest,
    )
    if lasting:
        # what lies there is of other bytes or by another model, and would count as a map of this one
        shutil.rmtree(folder / scene.id, ignore_errors=True)
        write_json(folder / FAILED / f"{scene.id}.json", failure.model_dump(mode="json"))
    return failure
