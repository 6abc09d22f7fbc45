"""A dataset version from the catalog and the labels: one task for each DVC stage, one commit at the end."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from plugins import assets
from plugins.commands import DvcStageOperator, SwathOperator
from plugins.defaults import DAG_ARGS, DAYS, revision_of, revision_param

with DAG(
    dag_id="build_dataset",
    schedule=(assets.scenes | assets.git_push),
    tags=["swath", "dataset"],
    description="Snapshot, split and certify, chip, check, measure; then version and push",
    params={"revision": revision_param()},
    doc_md=__doc__
    + """
Starts when the catalog changed, when a push to the watched branch changed `params.yaml`, `dvc.yaml`, `dvc.lock`, a
file below `labels/` or a
`.dvc` file, or by hand. A stage whose inputs did not change is reused and says so. `version_and_push` commits
`dvc.lock` on the branch `swath/<project>` and tags it; the asset `dataset` is told only when the data or the recipe
of training changed. **A stage runs the code of its own commit: who can push to the watched branch can run code here.**
""",
    **DAG_ARGS,
) as dag:
    resolve = SwathOperator(task_id="resolve_revision", command=["revision"])
    at: dict[str, Any] = {"revision": revision_of("resolve_revision"), "execution_timeout": DAYS}

    snapshot = DvcStageOperator(task_id="snapshot", stage="snapshot", **at)
    split = DvcStageOperator(task_id="split_and_certify", stage="split", after=["snapshot"], **at)
    chip = DvcStageOperator(task_id="chip", stage="chip", after=["split_and_certify"], **at)
    validate = DvcStageOperator(task_id="validate", stage="validate", after=["chip"], **at)
    statistics = DvcStageOperator(task_id="statistics", stage="statistics", after=["chip"], **at)
    profile = DvcStageOperator(task_id="reference_profile", stage="profile", after=["chip"], **at)
    version = SwathOperator(
        task_id="version_and_push",
        command=["release", "--run={run}"],
        after=["validate", "statistics", "reference_profile"],
        emits=assets.dataset,
        **at,
    )
    resolve >> snapshot >> split >> chip >> [validate, statistics, profile] >> version
