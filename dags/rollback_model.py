"""Back to a former champion, after seeing that it loads and predicts."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from plugins import assets
from plugins.commands import SwathOperator
from plugins.defaults import DAG_ARGS, revision_param

with DAG(
    dag_id="rollback_model",
    schedule=None,
    tags=["swath", "model"],
    description="Move the champion alias back, and record why",
    params={
        "revision": revision_param(),
        "version": Param(1, type="integer", minimum=1, title="Version", description="It was champion once."),
        "reason": Param("", type="string", minLength=3, maxLength=500, description="Kept on the version."),
    },
    doc_md=__doc__,
    **DAG_ARGS,
) as dag:
    SwathOperator(
        task_id="rollback",
        command=["model", "rollback", "--run={run}", "--version={{ params.version }}", "--reason={{ params.reason }}"],
        emits=assets.champion,
    )
