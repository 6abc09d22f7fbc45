"""Opening and closing the folder in which one run works."""

from __future__ import annotations

import os
import re
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from pipelines.config import settings
from pipelines.errors import BadData
from pipelines.files import alone, replacing
from pipelines.workspace.git import git
from pipelines.workspace.source import mirror

_LONGEST = 160  # characters, which leaves room for what is put before or after it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


def run_name(dag: str, run: str) -> str:
    """A DAG and the id of its run as one name that is safe for files, such as ``ingest_scenes.manual-2026-11-22``."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{dag}.{run}")
    # what is cut off still tells runs apart
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 13]}-{sha256(run.encode()).hexdigest()[:12]}"


def open_workspace(run: str, commit: str) -> Path:
    """The folder of ``run`` with ``commit`` checked out; made if it is not there, left as it is if it is.

    Its DVC cache is shared with the other workspaces of this machine, its DVC remote is the installation's.
    """
    folder = _folder(run)
    with alone(folder.with_name(f".{run}.lock")):  # several tasks of a run may come to a machine at once
        if (folder / ".git").exists() and git("rev-parse", "HEAD", at=folder) == commit:
            return folder
        with replacing(folder) as draft:
            git("clone", "--quiet", "--shared", "--no-checkout", str(mirror()), str(draft), at=settings().home)
            git("checkout", "--quiet", "--detach", commit, at=draft)
            (draft / ".dvc" / "config.local").write_text(_dvc_config(folder), encoding="utf-8")
    return folder


def close_workspace(run: str) -> None:
    """Remove the folder of ``run``, and the bytecode that Python kept of it elsewhere."""
    folder = _folder(run)
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f".{run}.lock").unlink(missing_ok=True)
    if sys.pycache_prefix:
        shutil.rmtree(Path(sys.pycache_prefix, *folder.parts[1:]), ignore_errors=True)


def environment(commit: str) -> dict[str, str]:
    """The environment for commands in a workspace: the same places, this interpreter first on the path."""
    here = settings()
    folders = {"SWATH_CATALOG": here.catalog, "SWATH_PREDICTIONS": here.predictions, "SWATH_REPORTS": here.reports}
    named = {} if here.store else {name: str(folder) for name, folder in folders.items()}
    return (
        os.environ
        | named
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "SWATH_HOME": str(here.home),
            "SWATH_GIT_REMOTE": here.git_remote,
            "SWATH_GIT_BRANCH": here.git_branch,
            "SWATH_DVC_REMOTE": here.dvc_remote,
            "SWATH_DVC_CACHE": str(here.dvc_cache),
            "MLFLOW_TRACKING_URI": here.mlflow_uri,
            "SWATH_REVISION": commit,
            "PYTHONUNBUFFERED": "1",
        }
    )


def _folder(run: str) -> Path:
    if not _NAME.fullmatch(run):
        raise BadData(f"{run!r} is no name for a run; use letters, digits, '-', '_' and '.'.")
    return settings().home / "workspaces" / run


def _dvc_config(folder: Path) -> str:
    here = settings()
    return (
        # beside the workspace DVC would keep an index of it below /var/tmp, which nobody ever removes
        f"[core]\n    site_cache_dir = {folder / '.dvc' / 'tmp' / 'site'}\n"
        f"[cache]\n    dir = {here.dvc_cache}\n    type = reflink,hardlink,symlink,copy\n"
        f"['remote \"swath\"']\n    url = {here.dvc_remote}\n    verify = true\n"
    )
