"""``swath ingest``: search, fetch, validate, publish, and all four in a row."""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.disk import full_disk
from pipelines.cli.result import emit
from pipelines.config import Params, load_params, settings
from pipelines.config.params import MOST_SHARDS
from pipelines.depot import address, bring, brought, send
from pipelines.errors import BadData, SwathError
from pipelines.files import read_json, write_json
from pipelines.progress import report

app = typer.Typer()
group = typer.Typer(no_args_is_help=True, help="Bring scenes from a source into the local catalog.")
app.add_typer(group, name="ingest")
log = logging.getLogger(__name__)

Run = Annotated[str, typer.Option(help="Names this run's staging folder; the same name continues the same run.")]
Shard = Annotated[int, typer.Option(min=0, help="Which shard of the plan, counted from 0.")]
Since = Annotated[str | None, typer.Option(help="First ISO date or time; default: params.scenes.dates.")]
Until = Annotated[str | None, typer.Option(help="Last ISO date or time; default: params.scenes.dates.")]
Area = Annotated[str | None, typer.Option(help="west,south,east,north in degrees; default: params.scenes.area.")]
Retry = Annotated[
    str | None, typer.Option(help="Scenes in quarantine to try again though they did not change: ids by commas, or *.")
]


@group.command("search")
def search_command(run: Run, since: Since = None, until: Until = None, area: Area = None, retry: Retry = None) -> None:
    """Find scenes that the catalog does not have yet, and write the plan to fetch them."""
    emit(_search(load_params(), run, since, until, area, retry))


@group.command("fetch")
def fetch_command(run: Run, shard: Shard) -> None:
    """Fetch the scenes of one shard into the staging folder."""
    emit(_fetch(load_params(), run, shard))


@group.command("validate")
def validate_command(run: Run, shard: Shard) -> None:
    """Check the fetched scenes of one shard with Great Expectations."""
    emit(_validate(load_params(), run, shard))


@group.command("publish")
def publish_command(run: Run) -> None:
    """Move the staged scenes into the catalog and write Data Docs."""
    emit(_publish(load_params(), run))


@group.command("all")
def all_command(
    run: Run = "desk", since: Since = None, until: Until = None, area: Area = None, retry: Retry = None
) -> None:
    """Search, fetch, validate and publish in a row; a source out of reach for one scene withholds no other."""
    params = load_params()
    shards = _search(params, run, since, until, area, retry)["shards"]
    unreachable = []
    for shard in range(shards):
        try:
            _fetch(params, run, shard)
        except SwathError as error:
            unreachable.append(str(error))
        _validate(params, run, shard)
    emit(_publish(params, run))
    if unreachable:
        raise SwathError(" ".join(unreachable))


def _catalog(params: Params) -> Path:
    return settings().catalog / params.project


def _search(
    params: Params, run: str, since: str | None, until: str | None, area: str | None, retry: str | None
) -> dict[str, Any]:
    from pipelines.scenes import catalog as catalogs
    from pipelines.scenes import quarantine, staging
    from pipelines.scenes.area import bounds_of, parse
    from pipelines.scenes.dates import Dates
    from pipelines.scenes.search import search

    catalog, scenes = _catalog(params), params.scenes
    bring(catalog / "catalog.json", catalog / "scenes", catalog / "quarantine", staging.folder(catalog, run))
    bounds = parse(area) if area else bounds_of(scenes.area)
    found, refused = search(scenes, bounds, Dates.of(scenes.dates, since, until))
    if retry:
        asked = {id.strip() for id in retry.split(",")}
        quarantine.lift_again(catalog, {c.id for c in found if c.id in asked or retry.strip() == "*"})
    quarantine.lift_unlike(catalog, _limits(params))
    quarantine.lift_mended(catalog, {c.source for c in found}, {entry.fingerprint for entry in refused})
    known = {record.fingerprint for record in quarantine.records(catalog)}
    for entry in refused:
        quarantine.put(catalog, stage="search", **entry.model_dump())
    new = [c for c in found if c.fingerprint not in known and catalogs.fingerprint(catalog, c.id) != c.fingerprint]
    if area:  # asked for once: it adds scenes, cut to it, and cuts none that the catalog has
        new = [c for c in new if catalogs.fingerprint(catalog, c.id) is None]
    plan = staging.Plan(
        run=run,
        when=datetime.now(UTC),
        area=bounds,
        shard=max(scenes.shard, -(-len(new) // MOST_SHARDS)),
        former=catalogs.state(catalogs.read_scenes(catalog).readable()),
        refused=len(refused) + sum(c.fingerprint in known for c in found),
        scenes=tuple(new),
    )
    (staging.folder(catalog, run) / "result.json").unlink(missing_ok=True)
    staging.write_plan(catalog, plan)
    return {"found": len(found) + len(refused), "new": len(new), "shards": plan.shards}


def _fetch(params: Params, run: str, shard: int) -> dict[str, Any]:
    from pipelines.scenes import catalog as catalogs
    from pipelines.scenes import staging
    from pipelines.scenes.fetch import fetch
    from pipelines.scenes.publish import staged

    catalog = _catalog(params)
    plan, folder = _planned(catalog, run, shard), staging.folder(catalog, run)
    scenes = plan.scenes
    bring(*(catalog / "scenes" / candidate.id for candidate in scenes), *_staged(catalog, run, scenes))
    fetched, failed, unreachable = 0, 0, []
    for done, candidate in enumerate(scenes):
        report(done, len(scenes), f"fetching {candidate.id}")
        try:
            published = catalogs.fingerprint(catalog, candidate.id) == candidate.fingerprint
            if not (published or staged(folder, candidate.id, candidate.fingerprint)):
                fetch(candidate, params.scenes, plan.area, folder)
                send()
            fetched += 1
        except BadData as error:
            if full_disk(error):  # which is no fault of the scene
                raise
            failed += 1
            _set_aside(catalog, candidate, "fetch", str(error))
        except SwathError as error:
            log.error("%s", error)
            unreachable.append(f"{candidate.id}: {error}")
        except Exception as error:  # a fault of this code, which is to withhold no other scene
            if full_disk(error):
                raise
            log.exception("%s could not be fetched", candidate.id)
            unreachable.append(f"{candidate.id}: {type(error).__name__}: {error}")
    if unreachable:
        raise SwathError(f"{len(unreachable)} of {len(scenes)} scenes could not be fetched: {'; '.join(unreachable)}")
    report(len(scenes), len(scenes), "fetched")
    return {"fetched": fetched, "quarantined": failed}


def _validate(params: Params, run: str, shard: int) -> dict[str, Any]:
    catalog = _catalog(params)
    plan = _planned(catalog, run, shard)
    bring(*_staged(catalog, run, plan.scenes))
    checked, failed = _check(params, plan, plan.scenes, None)
    return {"checked": checked, "quarantined": failed}


def _publish(params: Params, run: str) -> dict[str, Any]:
    from pipelines.scenes import quarantine, staging
    from pipelines.scenes.publish import publish

    catalog = _catalog(params)
    docs = settings().reports / params.project / "data_docs"
    folder = staging.folder(catalog, run)
    bring(catalog / "catalog.json", catalog / "scenes", catalog / "quarantine", folder, docs)
    if (receipt := folder / "result.json").exists():  # killed, or cleared, after the work was done
        _clear(folder)
        return dict(read_json(receipt))
    plan = staging.read_plan(catalog, run)
    _check(params, plan, plan.scenes, docs)
    published, count, state = publish(catalog, params.project, plan)
    fingerprints = {c.fingerprint for c in plan.scenes}
    refused = sum(r.fingerprint in fingerprints for r in quarantine.records(catalog))
    result = {
        "published": len(published),
        "ids": published[:20],
        "scenes": count,
        "changed": state != plan.former,
        "digest": state,
        "quarantined": plan.refused + refused,
        "missing": len(plan.scenes) - len(published) - refused,
        "data_docs": address(docs / "index.html") if brought(docs / "index.html").exists() else None,
    }
    if result["missing"]:  # the plan stays, so that `fetch` can be cleared once the source is back
        return result
    write_json(receipt, result)
    _clear(folder)
    return result


def _clear(staging: Path) -> None:
    """Leave of a published run its receipt alone."""
    for path in staging.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    (staging / "plan.json").unlink(missing_ok=True)


def _check(params: Params, plan: Any, scenes: Any, docs: Path | None) -> tuple[int, int]:
    """Check fetched scenes and set aside those that fail. Returns how many were checked, and how many failed."""
    from pipelines.checks.scenes import failures
    from pipelines.scenes import staging

    catalog = _catalog(params)
    folder = staging.folder(catalog, plan.run)
    rows = staging.read_rows(folder, scenes)
    reasons = failures(rows, params.scenes, docs, plan.when)
    for candidate in scenes:
        if candidate.id in reasons:
            _set_aside(catalog, candidate, "validate", reasons[candidate.id], _limits(params))
            shutil.rmtree(folder / "scenes" / candidate.id, ignore_errors=True)
    return len(rows), len(reasons)


def _planned(catalog: Path, run: str, shard: int) -> Any:
    """What one shard of ``run`` means to do."""
    from pipelines.scenes import staging

    bring(part := staging.shard_path(catalog, run, shard))
    if not part.exists():
        bring(staging.folder(catalog, run) / "plan.json")
    return staging.read_shard(catalog, run, shard)


def _staged(catalog: Path, run: str, scenes: Any) -> list[Path]:
    """What ``run`` has, or has to say, of ``scenes`` before they are published."""
    from pipelines.scenes import quarantine, staging

    folder = staging.folder(catalog, run)
    return [
        path
        for scene in scenes
        for path in (
            folder / "scenes" / scene.id,
            staging.rows_folder(folder) / f"{scene.id}.json",
            quarantine.record_path(catalog, scene.id),
        )
    ]


def _limits(params: Params) -> str:
    from pipelines.scenes.candidate import digest

    return digest(params.scenes.checks.model_dump(mode="json"))


def _set_aside(catalog: Path, candidate: Any, stage: str, reason: str, checks: str = "") -> None:
    from pipelines.scenes import quarantine

    quarantine.put(
        catalog,
        id=candidate.id,
        source=candidate.source,
        stage=stage,
        reason=reason,
        fingerprint=candidate.fingerprint,
        checks=checks,
    )
