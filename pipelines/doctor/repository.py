"""The watched repository and the DVC remote: may they be reached, read and written?"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from pipelines.doctor.finding import Finding, fault, fine, skipped
from pipelines.doctor.folders import existing
from pipelines.workspace.source import has_history

_PATIENCE = 20  # seconds


def watched(remote: str, branch: str) -> list[Finding]:
    """The repository answers, and has the branch that is watched."""
    if not has_history(remote):
        return [skipped("Git", f"{remote} is a folder without history; its tree as it stands is what runs")]
    try:
        asked = subprocess.run(
            ["git", "ls-remote", "--heads", "--", remote],
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return [fault("Git", f"{_bare(remote)} did not answer within {_PATIENCE} s.", "Check SWATH_GIT_REMOTE.")]
    if asked.returncode != 0:
        said = asked.stderr.replace(remote, _bare(remote)).strip()
        return [fault("Git", f"{_bare(remote)} cannot be read: {said}", "Check SWATH_GIT_REMOTE and its credentials.")]
    branches = [line.split("refs/heads/", 1)[1] for line in asked.stdout.splitlines()]
    if branch not in branches:
        has = ", ".join(branches[:8]) or "none"
        do = f"git push {_bare(remote)} {branch}, or set SWATH_GIT_BRANCH."
        return [fault("Git", f"{_bare(remote)} has no branch {branch} (it has: {has}).", do)]
    return [fine("Git", f"{_bare(remote)} has {branch}")]


def remote(url: str) -> list[Finding]:
    """A small file goes to the DVC remote, comes back the same, and is removed."""
    import fsspec

    name, sent = f"swath-doctor-{secrets.token_hex(8)}", secrets.token_bytes(16)
    do = "Check SWATH_DVC_REMOTE, its credentials, and that the bucket or folder exists and is yours."
    try:
        # a folder is made by the first push, so the one above it has to do until then
        place = url if "://" in url else str(existing(Path(url)))
        system, path = fsspec.core.url_to_fs(place, **_impatient(url))
        probe = f"{path.rstrip('/')}/{name}"
        system.pipe_file(probe, sent)
        try:
            got = system.cat_file(probe)
        finally:
            system.rm_file(probe)
    except Exception as error:  # of whatever library speaks to that store
        return [fault("DVC remote", f"{url} cannot be written and read: {error or type(error).__name__}", do)]
    if got != sent:
        return [fault("DVC remote", f"{url} gave back other bytes than were written.", do)]
    return [fine("DVC remote", f"{url} can be written and read")]


def _impatient(url: str) -> dict[str, Any]:
    if not url.startswith("s3://"):
        return {}
    # not one that an earlier look has made with other credentials
    return {
        "skip_instance_cache": True,
        "config_kwargs": {"connect_timeout": 5, "read_timeout": 15, "retries": {"max_attempts": 1}},
    }


def _bare(remote: str) -> str:
    """The address without the user and token that it may hold."""
    scheme, found, rest = remote.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else remote
