"""What has to be there before the first service starts. Repeating it changes nothing."""

import os
import subprocess
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines.config import settings
from pipelines.files import write_json

POOLS = (("gpu", "1", "Training and mapping"), ("io", "4", "Fetching"))


def main() -> None:
    """Airflow's database, the one login, the pools, and a bucket each for DVC and MLflow."""
    os.umask(0o077)
    passwords = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    write_json(passwords, {"admin": os.environ["SWATH_ADMIN_PASSWORD"]})
    subprocess.run(["airflow", "db", "migrate"], check=True)
    for name, slots, meaning in POOLS:
        subprocess.run(["airflow", "pools", "set", name, slots, meaning], check=True)
    store = boto3.client("s3")
    for bucket in (settings().dvc_remote.removeprefix("s3://").split("/")[0], "mlflow"):
        make_bucket(store, bucket)


def make_bucket(store: Any, name: str) -> None:
    try:
        store.create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
            raise


if __name__ == "__main__":
    main()
