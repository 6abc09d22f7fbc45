"""A watch over the maps: are the scenes still like those that the champion learned from?"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from plugins import assets
from plugins.commands import SwathOperator
from plugins.defaults import DAG_ARGS, revision_of, revision_param, schedule
from plugins.notices import tell_drift

with DAG(
    dag_id="monitor_drift",
    schedule=schedule("0 7 * * *", assets.predictions),
    tags=["swath", "drift"],
    description="Profile, compare, report, decide",
    params={"revision": revision_param()},
    doc_md=__doc__
    + """
whylogs profiles of each map are compared with the training reference of the model that made it, by Hellinger
distance, within season and zone. One odd scene is a warning; several are drift, which tells the asset `retrain` at
most once per cooldown. The report is linked from the Swath page.
""",
    **DAG_ARGS,
) as dag:
    profile = SwathOperator(task_id="profile", command=["drift", "profile", "--run={run}"])
    at: dict[str, Any] = {"revision": revision_of("profile")}
    compare = SwathOperator(task_id="compare", command=["drift", "compare", "--run={run}"], **at)
    report = SwathOperator(task_id="report", command=["drift", "report", "--run={run}"], **at)
    decide = SwathOperator(
        task_id="decide",
        command=["drift", "decide", "--run={run}"],
        emits=assets.retrain,
        on_success_callback=tell_drift,
        **at,
    )
    profile >> compare >> report >> decide
