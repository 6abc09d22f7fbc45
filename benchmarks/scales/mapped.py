"""A DAG as wide as it is told to be, of tasks that do nothing: what they cost is Airflow's own work."""

from __future__ import annotations

from airflow.sdk import DAG, Param, task

with DAG(dag_id="mapped", schedule=None, params={"width": Param(10, type="integer")}) as dag:

    @task
    def plan(width: str) -> list[int]:
        return list(range(int(width)))

    @task
    def shard(number: int) -> None:
        pass

    @task
    def publish() -> None:
        pass

    shard.expand(number=plan("{{ params.width }}")) >> publish()
