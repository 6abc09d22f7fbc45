"""What a run leaves, as facts that two runs can be compared by."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.files import read_json, sha256
from tests.faults.world import World

Facts = dict[str, str]

_OBJECT = re.compile(r"files/md5/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?")
_RUN_CACHE = re.compile(r"runs/[0-9a-f]{2}/[0-9a-f]{64}/[0-9a-f]{64}")
_FREE = re.compile(
    r"data/train/run\.json$"  # id of MLflow's run
    r"|dvc\.lock$"  # which holds that file's hash; what else it names is compared file by file
    r"|^decisions/|swath-decisions/"  # commits that tell when
    r"|plan\.json$|quarantine/.*\.json$"  # when
    r"|data_docs/(index|expectations/.*|validations/.*)\.html$"  # pages that tell when
    r"|^mlflow version \d+ (swath\.bundle|swath\.decision\.(at|record|chain)|swath\.promoted_at|swath\.in_charge)$"
)
# Records that a retry fetches of the watched repository, which has them.
_CAUGHT_UP = re.compile(r"(mirror/refs/heads|decisions/refs/there)/swath-decisions/")
_MOMENT = re.compile(r"\b\d{8}T\d{6}\.\d{6}Z\b")  # in names that Great Expectations gives
# Results and parts of plans, which tell how long a task took and when the plan was made.
_TIMED = re.compile(r"staging/[^/]+/(shard-|shards/)\d+\.json$")
# Not of the outcome: databases and logs of services, bytecode, and stores that are told by their content.
_APART = ("airflow", "decisions.git", "dvc", "logs", "mlflow", "notices", "pycache", "services.json", "source.git")


def facts(world: World) -> Facts:
    """All that can be compared by name: files by checksum, stores by what they say, and what is broken in them."""
    found = dict(_files(world.home))
    found |= dict(_stores(world.home / "dvc"))
    found |= dict(_registry(world.home / "mlflow" / "mlflow.db"))
    for name, repository in (
        ("checkout", world.checkout / ".git"),
        ("mirror", world.home / "source.git"),
        ("decisions", world.home / "decisions.git"),
    ):
        if repository.exists():
            found |= dict(_repository(name, repository))
    return found


def compared(found: Facts) -> Facts:
    """What every run must leave like that; of what tells of times and of ids by chance, the names alone."""
    return {name: "*" if _FREE.search(name) else value for name, value in found.items()}


def differences(expected: Facts, found: Facts) -> list[str]:
    """Sentences: what is missing, other, or there besides."""
    told = [f"{name} is missing" for name in expected if name not in found]
    told += [f"{name} differs" for name, v in expected.items() if v != "*" and name in found and found[name] != v]
    return told + [f"{name} is left over" for name in found if name not in expected and not _CAUGHT_UP.match(name)]


def _files(home: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home)
        if name.parts[0] in _APART or not path.is_file() or ".git" in name.parts:
            continue
        if ".dvc" in name.parts and "tmp" in name.parts:  # DVC's own notes of a workspace
            continue
        if name.parts[0] == "workspaces" and "data" not in name.parts and path.name != "dvc.lock":
            continue  # the checkout, as git has it
        if name.parts[0] == "stages":  # under a hash of what went in, and that is an id by chance after a training
            yield f"stages: {read_json(path)['cmd']}", "*"
        elif name.parts[0] == "bundles":
            yield f"bundles/*/{Path(*name.parts[2:])}", sha256(path)
        elif path.name.endswith(".lock") and path.name != "dvc.lock":
            continue  # of `alone`: a file that stays, of which the system has let go
        elif _TIMED.search(str(name)):
            yield (
                str(name),
                json.dumps({key: said for key, said in read_json(path).items() if key not in ("seconds", "when")}),
            )
        else:
            yield _MOMENT.sub("*", str(name)), sha256(path)


def _stores(dvc: Path) -> Iterator[tuple[str, str]]:
    """DVC's cache and remote: every object is what its name says, and nothing else lies there."""
    for place in ("cache", "remote"):
        for path in (dvc / place).rglob("*"):
            name = str(path.relative_to(dvc / place))
            if not path.is_file():
                continue
            if _OBJECT.fullmatch(name):
                wanted = name.removesuffix(".dir").removeprefix("files/md5/").replace("/", "")
                if hashlib.md5(path.read_bytes()).hexdigest() != wanted:
                    yield f"dvc/{place}/{name} (bytes that are not those of its name)", ""
            elif not _RUN_CACHE.fullmatch(name):
                yield f"dvc/{place}/{path.name}", ""


def _repository(name: str, repository: Path) -> Iterator[tuple[str, str]]:
    for lock in repository.rglob("*.lock"):
        yield f"{name}/{lock.relative_to(repository)}", ""
    told = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname) %(objectname) %(tree)"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    for line in told.stdout.splitlines():
        ref, *hashes = line.split()
        yield f"{name}/{ref}", " ".join(hashes)
    checked = subprocess.run(["git", "fsck", "--connectivity-only"], cwd=repository, capture_output=True, text=True)
    if checked.returncode:
        yield f"{name} (damaged: {checked.stderr.strip()[:200]})", ""


def _registry(database: Path) -> Iterator[tuple[str, str]]:
    if not database.exists():
        return
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:

        def rows(query: str) -> list[Any]:
            return db.execute(query).fetchall()

        tables = {name for (name,) in rows("select name from sqlite_master")}
        if "model_versions" not in tables:
            return
        # Not their number: a training killed while DVC takes its result is made again, and MLflow keeps both runs.
        for (status,) in rows("select distinct status from runs"):
            yield f"mlflow runs {status}", ""
        for alias, version in rows("select alias, version from registered_model_aliases"):
            yield f"mlflow alias {alias}", str(version)
        for version, tag, value in rows("select version, key, value from model_version_tags"):
            yield f"mlflow version {version} {tag}", value


def remainders(world: World) -> list[str]:
    """Hidden files and folders that writing leaves when it is cut off."""
    found = []
    for path in world.home.rglob(".*"):
        name = path.relative_to(world.home)
        inside = any(part.startswith(".") for part in name.parts[:-1])
        if name.parts[0] in _APART or inside or name.name in (".git", ".dvc", ".dvcignore", ".gitignore", ".ci"):
            continue
        if not name.name.endswith((".lock", "ignore")):
            found.append(str(name))
    return found
