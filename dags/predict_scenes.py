"""Maps of every scene that the champion has not mapped yet."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from plugins import assets
from plugins.commands import PLAN, PlanOperator, SwathOperator
from plugins.defaults import DAG_ARGS, DAYS, revision_of, revision_param, schedule

with DAG(
    dag_id="predict_scenes",
    schedule=schedule("0 5 * * *", assets.scenes | assets.champion),
    tags=["swath", "maps"],
    description="Plan, predict over shards of scenes, publish",
    params={"revision": revision_param()},
    doc_md=__doc__
    + """
The plan compares the catalog with the maps that the present champion has made, so an event lost or told twice
changes nothing. A scene that breaks the model's contract is named in the result, and the rest goes on. A shard that
cannot be ended leaves the run red at `complete`; all that was mapped is published.
""",
    **DAG_ARGS,
) as dag:
    plan = PlanOperator(task_id="plan", command=["map", "plan", "--run={run}"])
    predict = SwathOperator.partial(
        task_id="predict",
        command=["map", "shard", "--run={run}"],
        revision=revision_of("plan", PLAN),
        queue="gpu",
        execution_timeout=DAYS,
    ).expand(shard=plan.output)
    publish = SwathOperator(
        task_id="publish",
        command=["map", "publish", "--run={run}"],
        revision=revision_of("plan", PLAN),
        emits=assets.predictions,
        trigger_rule="all_done",  # a scene that ends its process withholds no other's map; and there may be no shard
    )
    complete = EmptyOperator(task_id="complete", trigger_rule="none_failed")
    plan >> predict >> publish
    [plan, predict, publish] >> complete
