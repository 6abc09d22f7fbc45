"""Machines that share a store and nothing else, each a home folder, and what the store then holds."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipelines.cli.main import app
from pipelines.files import read_json


@dataclass(frozen=True)
class Machine:
    """``home`` is a folder of its own; without ``store`` it has the embedded system's folders."""

    home: Path
    desk: Path  # a folder with params.yaml
    store: str | None

    def swath(self, *arguments: str) -> dict[str, Any]:
        """Run a command as its process does; what it handed over. Raises ``AssertionError`` if it failed."""
        answer = self.home / "answer.json"
        answer.unlink(missing_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.desk)
            patch.setattr(sys, "argv", ["swath", *arguments])
            for name, value in self.environment().items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as done:
                app()
        assert done.value.code in (None, 0), arguments
        return dict(read_json(answer))

    def environment(self) -> dict[str, str]:
        return {
            "SWATH_HOME": str(self.home),
            "SWATH_STORE": self.store or "",
            "SWATH_RESULT": str(self.home / "answer.json"),
        }

    def cached(self, suffix: str) -> set[str]:
        """Objects of the store whose bytes this machine has, without their versions."""
        objects = self.home / "depot" / "objects"
        found = (path.relative_to(objects).as_posix().rpartition("@")[0] for path in objects.rglob("*@*"))
        return {key for key in found if key.endswith(suffix)}


def client() -> Any:
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def held(store: str) -> dict[str, bytes]:
    """All that a store holds, by key."""
    bucket, _, prefix = store.removeprefix("s3://").partition("/")
    pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return {key[len(prefix) + 1 :]: client().get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def copied(store: str, other: str) -> str:
    """Another store with the same objects."""
    bucket, _, prefix = other.removeprefix("s3://").partition("/")
    for key, body in held(store).items():
        client().put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=body)
    return other


def files(home: Path) -> dict[str, bytes]:
    """All that the embedded system's folders hold, by path, without drafts and locks."""
    found = (path for name in ("catalog", "predictions", "reports") for path in (home / name).rglob("*"))
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in found
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(home).parts)
    }
