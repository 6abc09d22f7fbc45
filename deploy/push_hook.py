#!/usr/bin/env python3
"""Tell Airflow of a push at once, instead of waiting for the watcher to look. Python's standard library is enough.

In CI (GitHub Actions, GitLab, Jenkins), in a job of the watched branch alone, after `dvc push`:

    AIRFLOW_URL=https://airflow.example.org AIRFLOW_USER=ci AIRFLOW_PASSWORD=... python3 push_hook.py "$COMMIT"

As the hook `post-receive` of a bare repository: copy it to hooks/post-receive, make it executable, and let its
environment have the same variables. It then tells of pushes to SWATH_GIT_BRANCH (main) that touch params.yaml,
dvc.yaml, dvc.lock, a .dvc file or one below labels/, which is what the watcher minds.

AIRFLOW_TOKEN may stand in for user and password. The user needs to create asset events, as the role Op may. Telling
twice, or beside the watcher, does no harm: what is built already is reused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

DECIDING = ("params.yaml", "dvc.yaml", "dvc.lock")


def main() -> None:
    asked = sys.argv[1:]
    if len(asked) > 1 or (asked and asked[0].startswith("-")):
        sys.exit(__doc__)
    try:
        for revision, files in [(asked[0], [])] if asked else pushed(sys.stdin):
            tell(revision, files)
    except urllib.error.HTTPError as error:
        sys.exit(f"Airflow answered {error.code} to {error.url}: {error.read().decode(errors='replace')[:300]}")
    except (urllib.error.URLError, KeyError) as error:
        needed = "AIRFLOW_URL, and AIRFLOW_TOKEN or AIRFLOW_USER and AIRFLOW_PASSWORD"
        sys.exit(f"Airflow was not told ({error}); set {needed}.")


def pushed(lines: Iterable[str]) -> Iterable[tuple[str, list[str]]]:
    """New commit and deciding files of each push that git lists, `old new ref` a line, to the watched branch."""
    watched = f"refs/heads/{os.environ.get('SWATH_GIT_BRANCH') or 'main'}"
    for old, new, ref in (line.split() for line in lines):
        if ref != watched or not new.strip("0"):
            continue
        compared = ["diff", old, new] if old.strip("0") else ["ls-tree", "-r", new]  # a new branch has no former tip
        command = ["git", *compared, "--name-only", "-z"]  # by lines it writes names that are not ASCII in quotes
        said = subprocess.run(command, capture_output=True, check=True).stdout.decode(errors="replace")
        if files := [name for name in said.split("\0") if name in DECIDING or name.endswith(".dvc") or _labels(name)]:
            yield new, files


def _labels(name: str) -> bool:
    return name.startswith("labels/") and name.rsplit("/", 1)[-1] not in ("README.md", ".gitignore")


def tell(revision: str, files: list[str]) -> None:
    token = os.environ.get("AIRFLOW_TOKEN")
    if not token:
        login = {"username": os.environ["AIRFLOW_USER"], "password": os.environ["AIRFLOW_PASSWORD"]}
        token = call("POST", "/auth/token", None, login)["access_token"]
    found = call("GET", "/api/v2/assets?name_pattern=git_push", token)["assets"]
    asset = next((one["id"] for one in found if one["name"] == "git_push"), None)
    if asset is None:
        sys.exit("Airflow does not know the asset git_push; are Swath's DAGs in it?")
    event = {"asset_id": asset, "extra": {"revision": revision, "files": files[:50]}}
    call("POST", "/api/v2/assets/events", token, event)
    print(f"Airflow was told of {revision}.")


def call(method: str, path: str, token: str | None, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(os.environ["AIRFLOW_URL"].rstrip("/") + path, method=method)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, json.dumps(body).encode() if body is not None else None, timeout=30) as answer:
        return dict(json.load(answer))


if __name__ == "__main__":
    main()
