from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from airflow.sdk import DAG

ROOT = Path(__file__).parents[2]


def read_dags() -> dict[str, DAG]:
    """All DAGs of dags/, by id, read anew."""
    found: dict[str, DAG] = {}
    for file in sorted((ROOT / "dags").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"dag_file_{file.stem}", file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[module.dag.dag_id] = module.dag
    return found


@pytest.fixture(scope="session")
def dags() -> dict[str, DAG]:
    return read_dags()
