"""A model from a dataset version: trained, evaluated, packaged, registered, and promoted if the gate says so."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from plugins import assets
from plugins.approval import GateApproval
from plugins.commands import DvcStageOperator, SwathOperator
from plugins.defaults import DAG_ARGS, DAYS, deadline, revision_of, revision_param
from plugins.notices import late_hours

_BUNDLED = [
    "data/train",
    "data/evaluation",
    "data/metrics.json",
    "data/history.csv",
    "data/reference",
    "data/statistics.json",
    "data/blocks.parquet",
    "data/certificate.json",
    "data/certificate.png",
    "data/manifest.json",
]

# what was registered by this run, for a desk may have made another the challenger since
_REGISTERED = (
    "{% set number = ti.xcom_pull(task_ids='register').get('judges') %}{{ '--version=' + number if number else '' }}"
)
_ANSWER = "{% set said = ti.xcom_pull(task_ids='approve') %}{{ '--' + said.option + '=' + said.by if said else '' }}"
# a person is asked of one version, and another may be challenger when the answer comes
_JUDGED = (
    "{% set number = ti.xcom_pull(task_ids='gate').get('promotes') %}{{ '--version=' + number if number else '' }}"
)
# the gate runs the code of its own commit, and an older one gives its reasons alone
_EVIDENCE = "{% set said = ti.xcom_pull(task_ids='gate') %}{{ said.get('summary') or said['reasons'] | join('\n\n') }}"

with DAG(
    dag_id="train_model",
    schedule=(assets.dataset | assets.retrain),
    tags=["swath", "model"],
    description="Train, evaluate, package, register, gate, approve, promote",
    params={"revision": revision_param()},
    doc_md=__doc__
    + """
The challenger and the champion are scored on the same test blocks. The challenger is promoted only if the paired
block-bootstrap interval says that it is better and no class and no scene falls below its floor; the reasons are
written on the model version either way. With `gate.approval: true` a person has the last word, and silence rejects.
""",
    **DAG_ARGS | {"deadline": deadline(3 * late_hours())},
) as dag:
    resolve = SwathOperator(task_id="resolve_revision", command=["revision"], released=True)
    at: dict[str, Any] = {"revision": revision_of("resolve_revision"), "execution_timeout": DAYS}

    train = DvcStageOperator(task_id="train", stage="train", pool="gpu", queue="gpu", **at)
    evaluate = DvcStageOperator(task_id="evaluate", stage="evaluate", after=["train"], pool="gpu", queue="gpu", **at)
    package = SwathOperator(
        task_id="package", command=["model", "package"], after=["evaluate"], needs=[*_BUNDLED, "data/chips"], **at
    )
    register = SwathOperator(
        task_id="register", command=["model", "register"], after=["evaluate"], needs=_BUNDLED, **at
    )
    gate = SwathOperator(
        task_id="gate",
        command=["model", "gate", _REGISTERED],
        after=["evaluate"],
        needs=[*_BUNDLED, "data/plan.parquet", "data/labels"],
        **at,
    )
    approve = GateApproval(
        task_id="approve",
        gate="gate",
        subject="Promote the challenger of {{ ti.xcom_pull(task_ids='gate')['project'] }}?",
        body=_EVIDENCE,
    )
    promote = SwathOperator(
        task_id="promote",
        command=["model", "promote", "--run={run}", _JUDGED, _ANSWER],
        after=["evaluate"],
        needs=["data/train"],
        emits=assets.champion,
        trigger_rule="none_failed",
        **at,
    )
    resolve >> train >> evaluate >> package >> register >> gate >> approve >> promote
