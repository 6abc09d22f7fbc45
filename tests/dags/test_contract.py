"""The contract between dvc.yaml, params.yaml and the DAGs."""

from __future__ import annotations

import re
from typing import Any

import grimp
import pytest
import yaml
from airflow.sdk import DAG

from pipelines.config import load_params
from tests.dags.conftest import ROOT

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def _outputs(stage: str) -> list[str]:
    found = STAGES[stage]
    return [next(iter(o)) if isinstance(o, dict) else o for o in [*found.get("outs", []), *found.get("metrics", [])]]


def _task_of(dags: dict[str, DAG], stage: str) -> Any:
    found = [t for d in dags.values() for t in d.tasks if getattr(t, "command", None) == ["stage", stage]]
    assert len(found) == 1, f"stage {stage} must be exactly one task"
    return found[0]


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_one_task_that_runs_after_what_it_reads(dags: dict[str, DAG], stage: str) -> None:
    task = _task_of(dags, stage)
    for other in STAGES:
        reads = any(dep == out or dep.startswith(f"{out}/") for dep in STAGES[stage]["deps"] for out in _outputs(other))
        if not reads:
            continue
        before = _task_of(dags, other)
        if before.dag_id == task.dag_id:
            assert before.task_id in task.get_flat_relative_ids(upstream=True)
        else:
            assert (before.dag_id, task.dag_id) == ("build_dataset", "train_model")


RUNS = {  # the function of each stage
    "snapshot": "dataset.snapshot",
    "split": "dataset.split",
    "chip": "dataset.chips",
    "validate": "checks.chips",
    "statistics": "dataset.statistics",
    "profile": "monitoring.reference",
    "train": "training.train",
    "evaluate": "evaluation.evaluate",
}
DECIDE = ("checks", "dataset", "evaluation", "inference", "labels", "monitoring", "training")  # what a stage makes
# Imported for a name, a form or a table that another stage wrote: what these decide is in the data that a stage reads.
READ = {"dataset.blocks", "dataset.certificate", "dataset.crop", "dataset.regions", "dataset.snapshot"}
READ |= {"dataset.statistics", "training.tracking"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_decides_what_it_makes(stage: str) -> None:
    graph = grimp.build_graph("pipelines", cache_dir=None)
    imported = {name.removeprefix("pipelines.") for name in graph.find_upstream_modules(f"pipelines.{RUNS[stage]}")}
    decide = {RUNS[stage], *(name for name in imported if name.partition(".")[0] in DECIDE and "." in name)}
    if stage == "train":  # boxes are labels that another stage cut
        decide -= {name for name in decide if name.startswith("labels.")}
    deps = [dep.removesuffix(".py") for dep in STAGES[stage]["deps"]]
    paths = {name: "/".join(["pipelines", *name.split(".")]) for name in decide - READ}
    missing = [name for name, path in paths.items() if not any(f"{path}/".startswith(f"{dep}/") for dep in deps)]
    assert not missing, f"a change of these leaves {stage} as it is: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("stage", STAGES)
def test_each_parameter_and_each_folder_of_code_of_a_stage_exists(stage: str) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in STAGES[stage].get("params", []):
        value = params
        for part in name.split("."):
            assert part in value, f"{stage} depends on {name}, which params.yaml lacks"
            value = value[part]
    for dep in STAGES[stage]["deps"]:
        if not dep.startswith("data/"):
            assert (ROOT / dep).exists(), f"{stage} depends on {dep}, which does not exist"


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_depends_on_parameters_that_its_code_may_use(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m pipelines {stage}"
    assert any(dep.startswith("pipelines/") for dep in STAGES[stage]["deps"])


def test_a_monitoring_threshold_trains_nothing() -> None:
    for stage in ("snapshot", "split", "chip", "statistics", "validate", "train", "evaluate"):
        watched = r"gate|drift$|drift\.(false_alarms|threshold|min_pixels|min_scenes|cooldown_days)"
        assert not [name for name in STAGES[stage].get("params", []) if re.match(watched, name)]


def test_the_parameters_are_valid() -> None:
    assert load_params(ROOT / "params.yaml").project == "sample"


@pytest.mark.parametrize("example", sorted(p.name for p in (ROOT / "examples").glob("*.yaml")))
def test_each_example_is_a_short_valid_overlay(example: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.config import merged_params

    monkeypatch.setenv("SWATH_DATA", "/data")
    path = ROOT / "examples" / example
    assert len(path.read_text().splitlines()) < 40
    merged = tmp_path / "params.yaml"
    merged.write_text(merged_params(ROOT / "params.yaml", path))
    assert load_params(merged).project == path.stem
