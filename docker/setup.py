"""What has to be there before the first service starts. Repeating it changes nothing."""

import os
import subprocess
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError
from celery.backends.database.models import ResultModelBase
from mlflow.db import upgrade
from sqlalchemy import Connection, Sequence, create_engine, make_url, text

from pipelines.config import settings
from pipelines.files import write_json

POOLS = (("gpu", "1", "Training and evaluation"), ("io", "4", "Fetching"))


def main() -> None:
    """The databases of Airflow and MLflow, brought to their versions, and in Airflow's the results of Celery; the one
    login, where its password is given; the pools; a bucket each for scenes and maps, DVC, logs of tasks and, where
    MLflow is served beside, its artifacts."""
    os.umask(0o077)
    if password := os.environ.get("SWATH_ADMIN_PASSWORD"):
        write_json(Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]), {"admin": password})
    subprocess.run(["airflow", "db", "migrate"], check=True)
    if worker := make_url(os.environ.get("AIRFLOW__CELERY__RESULT_BACKEND", "db://").removeprefix("db+")).username:
        with create_engine(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).begin() as database:
            let_at_results(database, worker)
    # not by its command line, where everyone could read the password in the address
    upgrade.main([os.environ["MLFLOW_BACKEND_STORE_URI"]], standalone_mode=False)
    for name, slots, meaning in POOLS:
        if subprocess.run(["airflow", "pools", "get", name], stdout=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["airflow", "pools", "set", name, slots, meaning], check=True)
    store = boto3.client("s3")
    named = (
        os.environ.get(name, "")
        for name in ("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", "MLFLOW_ARTIFACTS_DESTINATION")
    )
    for address in (settings().store or "", settings().dvc_remote, *named):
        if address.startswith("s3://"):
            make_bucket(store, address.removeprefix("s3://").split("/")[0])


def let_at_results(database: Connection, user: str) -> None:
    """Make the tables of Celery's results and let ``user`` read and write them. They lie beside Airflow's own, whose
    pruning takes in these too."""
    ResultModelBase.metadata.create_all(database)
    for table in ResultModelBase.metadata.sorted_tables:
        database.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table.name} TO {user}"))
        for column in table.columns:
            if isinstance(column.default, Sequence):
                database.execute(text(f"GRANT USAGE ON SEQUENCE {column.default.name} TO {user}"))


def make_bucket(store: Any, name: str) -> None:
    try:
        store.head_bucket(Bucket=name)
        return
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise  # it is another's, or not for this key, and no task could write to it
    region = store.meta.region_name
    # the one place that S3 refuses to be told by name
    placed = {} if region in (None, "us-east-1") else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    store.create_bucket(Bucket=name, **placed)


if __name__ == "__main__":
    main()
