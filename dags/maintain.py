"""Disk and metadata kept bounded: old workspaces, caches, staging, reports, logs, maps and Airflow's own history."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param

from plugins.commands import SwathOperator
from plugins.defaults import DAG_ARGS, revision_param, schedule

with DAG(
    dag_id="maintain",
    schedule=schedule("@weekly"),
    tags=["swath", "upkeep"],
    description="Retention of runs, cache, artifacts and metadata; orphans",
    params={
        "revision": revision_param(),
        "days": Param(30, type="integer", minimum=3, maximum=3650, title="Days", description="Age of what may go."),
        "versions": Param(
            3,
            type="integer",
            minimum=0,
            maximum=1000,
            title="Versions",
            description="So many former champions keep their maps; those of others can be made again.",
        ),
    },
    doc_md=__doc__,
    **DAG_ARGS,
) as dag:
    orphans = SwathOperator(
        task_id="orphans", command=["maintain", "--days={{ params.days }}", "--versions={{ params.versions }}"]
    )
    # Airflow hides its database from tasks; where the installation names it for this purpose, history is pruned.
    metadata = BashOperator(
        task_id="metadata",
        bash_command="""
            test -n "$SWATH_AIRFLOW_DB" || { echo 'SWATH_AIRFLOW_DB is unset: history is kept.'; exit 99; }
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="$SWATH_AIRFLOW_DB" airflow db clean --yes --skip-archive \\
                --clean-before-timestamp "$(date --utc --date='{{ params.days }} days ago' --iso-8601=seconds)"
        """,
        execution_timeout=timedelta(minutes=30),
    )
    orphans >> metadata
