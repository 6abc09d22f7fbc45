"""New scenes into the catalog: search, fetch, validate, publish."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

from plugins import assets
from plugins.commands import PLAN, PlanOperator, SwathOperator
from plugins.defaults import DAG_ARGS, DAYS, day_param, revision_of, revision_param, schedule
from plugins.revision import backfilled_day

with DAG(
    dag_id="ingest_scenes",
    schedule=schedule("@daily"),
    tags=["swath", "scenes"],
    description="Search for scenes, fetch and validate them, publish them to the catalog",
    params={
        "revision": revision_param(),
        "area": Param(
            None,
            type=["null", "string"],
            title="Area",
            pattern=r"^\s*-?[\d.]+(\s*,\s*-?[\d.]+){3}\s*$",
            description="west,south,east,north in degrees, west > east over the antimeridian. Empty: params.yaml.",
        ),
        "since": day_param("First day"),
        "until": day_param("Last day"),
        "retry": Param(
            None,
            type=["null", "string"],
            title="Out of quarantine",
            maxLength=4000,
            pattern=r"^\s*(\*|[A-Za-z0-9][A-Za-z0-9._-]*(\s*,\s*[A-Za-z0-9][A-Za-z0-9._-]*)*)\s*$",
            description="Ids of scenes to try again though they did not change, by commas; * for all. Empty: none.",
        ),
    },
    doc_md=__doc__
    + """
A scene that is unreadable, breaks the band contract or fails a check goes to quarantine with its reason, and the
rest goes on. A scene whose source cannot be reached leaves its `fetch` and, at `complete`, the run red, and is tried
again by the next run; the others are published. The asset `scenes` is told only when the catalog changed. A backfill
over a range of dates ingests those dates; the daily run takes whatever the catalog does not have yet, late arrivals
included.
""",
    user_defined_macros={"day": backfilled_day},
    **DAG_ARGS,
) as dag:
    search = PlanOperator(
        task_id="search",
        command=[
            "ingest",
            "search",
            "--run={run}",
            "{{ '--area=' + params.area if params.area else '' }}",
            "{{ '--since=' + day(params.since, dag_run) if day(params.since, dag_run) else '' }}",
            "{{ '--until=' + day(params.until, dag_run) if day(params.until, dag_run) else '' }}",
            "{{ '--retry=' + params.retry if params.retry else '' }}",
        ],
    )
    common = {"revision": revision_of("search", PLAN), "pool": "io", "execution_timeout": DAYS}
    shards = search.output
    fetch = SwathOperator.partial(task_id="fetch", command=["ingest", "fetch", "--run={run}"], queue="io", **common)
    validate = SwathOperator.partial(task_id="validate", command=["ingest", "validate", "--run={run}"], **common)
    publish = SwathOperator(
        task_id="publish",
        command=["ingest", "publish", "--run={run}"],
        revision=revision_of("search", PLAN),
        emits=assets.scenes,
        trigger_rule="all_done",  # a source out of reach for one scene withholds no other; and there may be no shard
    )
    fetched, validated = fetch.expand(shard=shards), validate.expand(shard=shards)
    complete = EmptyOperator(task_id="complete", trigger_rule="none_failed")
    search >> fetched >> validated
    [search, fetched, validated] >> publish  # itself after each: once one fetch has failed, `validate` waits for none
    [search, fetched, validated, publish] >> complete
