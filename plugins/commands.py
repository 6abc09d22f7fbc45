"""Operators that run a ``swath`` command in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from pipelines.cli.lifeline import LIFELINE
from pipelines.cli.result import RESULT_FILE
from pipelines.config import settings
from pipelines.errors import BAD_DATA_EXIT
from pipelines.files import read_json
from pipelines.lineage.run import PERSON, RUN
from pipelines.progress import PROGRESS_FILE
from pipelines.secrets import without_secrets
from pipelines.workspace.stage import LOCK
from pipelines.workspace.workspace import run_name
from plugins.metrics import send
from plugins.revision import asked_in_form, asked_revision

PLAN = "plan"  # XCom key of a plan's whole result
_LOOK = 1  # seconds between two looks at who supervises
_GRACE = 20  # seconds between asking a command to stop and killing it


class SwathOperator(BaseOperator):
    """Runs ``swath COMMAND...`` in the run's workspace, at a revision, and returns the command's small JSON result.

    ``after`` names the stage tasks whose entries of ``dvc.lock`` the command builds on, ``needs`` the outputs of
    stages that it reads: both are brought into the workspace, which may be another machine's than theirs.

    ``revision`` is a template; without one the run's own form, then the asset event that started the run, then the
    watched branch decide. Where a template renders to nothing, the task that settles on a revision has failed, and
    this one is skipped. ``released`` asks for the dataset version of that revision instead of
    itself. ``{run}`` in the command becomes the run's name. With ``emits`` the task is skipped, and no event leaves,
    unless the result says ``changed``.

    Bad data (exit status 65) fails at once; anything else is retried. Stopping the task stops the whole process group,
    and so does the end of the task's own process or of the one that supervises it, killed or not.
    """

    template_fields: Sequence[str] = ("command", "revision", "shard", "lock")
    ui_color = "#dce9dc"

    def __init__(
        self,
        *,
        command: Sequence[str],
        revision: str = "",
        shard: int | None = None,
        after: Sequence[str] = (),
        needs: Sequence[str] = (),
        released: bool = False,
        emits: Asset | None = None,
        **kwargs: Any,
    ) -> None:
        if emits is not None:  # Airflow hands `outlets` to the copies of a mapped task itself
            kwargs["outlets"] = [emits]
        super().__init__(**kwargs)
        self.lock = [
            f"{{{{ (ti.xcom_pull(task_ids='{task}') or {{}}).get('lock', {{}}) | tojson }}}}" for task in after
        ]
        self.needs = needs
        self.released = released
        self.command = command
        self.revision = revision
        self._settled_elsewhere = bool(revision)
        self.shard = shard
        self.emits = emits
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def execute(self, context: Any) -> dict[str, Any]:
        if self._settled_elsewhere and not self.revision:
            raise AirflowSkipException("The task that plans this run has failed, so there is nothing to do here.")
        started = monotonic()
        result = self._start(self.arguments(context), context)
        result["command_seconds"] = round(monotonic() - started, 2)
        send(self.command, result)
        if self.emits is not None:
            if not result.get("changed"):
                context["ti"].xcom_push(key="return_value", value=result)
                raise AirflowSkipException(result.get("reason") or "Nothing changed, so nothing downstream starts.")
            extra = {name: result[name] for name in ("project", "revision", "version", "tag") if result.get(name)}
            context["outlet_events"][self.emits].extra = extra
        return result

    def arguments(self, context: Any) -> list[str]:
        """The command line after ``swath``."""
        run = _run(context)
        command = [part.replace("{run}", run) for part in self.command if part]
        if self.shard is not None:
            command += ["--shard", str(self.shard)]
        needs = [word for path in self.needs for word in ("--need", path)]
        released = ["--released"] if self.released else []
        return ["at", *self.where(context), *released, *needs, "--", *command]

    def where(self, context: Any) -> list[str]:
        revision = self.revision or asked_revision(context)
        newest = ["--newest"] if revision and not self.revision and not asked_in_form(context) else []
        return ["--run", _run(context), *(["--revision", revision, *newest] if revision else [])]

    def on_kill(self) -> None:
        self._stopped = True  # a signal may come while the process is being started
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _merged_lock(self) -> str:
        return json.dumps({stage: entry for entries in self.lock for stage, entry in json.loads(entries).items()})

    def _start(self, arguments: list[str], context: Any) -> dict[str, Any]:
        self.log.info("swath %s", " ".join(arguments))
        shard = "" if self.shard is None else f".{self.shard}"
        progress = settings().home / "progress" / f"{_run(context)}.{context['ti'].task_id}{shard}.json"
        with _scratch(context) as scratch:
            answer = scratch / "result.json"
            last = ""
            with subprocess.Popen(
                [os.environ.get("SWATH_PYTHON") or sys.executable, "-m", "pipelines", *arguments],
                env=os.environ
                | {RESULT_FILE: str(answer), PROGRESS_FILE: str(progress), LOCK: self._merged_lock()}
                | {RUN: f"{context['dag'].dag_id}/{context['run_id']}", LIFELINE: "stdin", "TMPDIR": str(scratch)}
                | {PERSON: getattr(context.get("dag_run"), "triggering_user_name", None) or ""},
                stdin=subprocess.PIPE,  # nothing is sent; it closes when this process dies, whatever it dies of
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",  # a library may write the name of a file as it is
                start_new_session=True,
            ) as self._process:
                assert self._process.stderr is not None
                threading.Thread(target=_end_if_orphaned, args=(self._process, os.getppid()), daemon=True).start()
                try:
                    if self._stopped:
                        self.on_kill()
                    for line in self._process.stderr:
                        if line := without_secrets(line.rstrip()):  # a library may print what it likes
                            self.log.info("%s", line)
                            # an error of several lines is told as one
                            goes_on = last.startswith("swath: ") and not line.startswith("swath: ")
                            last = f"{last} {line.strip()}" if goes_on else line
                except BaseException:  # such as a timeout, which Popen would answer by waiting for the command's end
                    self.on_kill()
                    raise
            status = self._process.returncode
            if status != 0:  # what a command that was killed has left at work would meet the next attempt
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            progress.unlink(missing_ok=True)
            last = last.removeprefix("swath: ")
            if status == BAD_DATA_EXIT:
                raise AirflowFailException(last)
            if status != 0:
                raise AirflowException(f"swath {' '.join(arguments)} ended with status {status}: {last}")
            return dict(read_json(answer))


class PlanOperator(SwathOperator):
    """Runs a command whose result says ``shards: n`` and returns ``[0, ..., n - 1]`` for mapping.

    Airflow maps over return values alone, so the whole result is the XCom ``plan``.
    """

    def execute(self, context: Any) -> Any:
        result = super().execute(context)
        context["ti"].xcom_push(key=PLAN, value=result)
        return list(range(result["shards"]))


class DvcStageOperator(SwathOperator):
    """Reproduces one stage of ``dvc.yaml`` by ``dvc repro --single-item``, in the run's workspace."""

    ui_color = "#d6e4f0"

    def __init__(self, *, stage: str, **kwargs: Any) -> None:
        super().__init__(command=["stage", stage], **kwargs)

    def arguments(self, context: Any) -> list[str]:
        return [*self.command, *self.where(context)]


def _end_if_orphaned(process: subprocess.Popen[str], supervisor: int) -> None:
    """Kill the command once nobody supervises this process any more: its task is then tried again elsewhere."""
    while process.poll() is None:
        if os.getppid() != supervisor:
            os.killpg(process.pid, signal.SIGKILL)
            return
        sleep(_LOOK)


@contextmanager
def _scratch(context: Any) -> Iterator[Path]:
    """A folder for what a command keeps for itself, gone after it; one that a killed attempt left goes before it."""
    ti = context["ti"]
    name = f"{_run(context)}.{ti.task_id}.{getattr(ti, 'map_index', -1)}"
    # a short name, for sockets may have to fit into it
    folder = settings().home / "scratch" / hashlib.sha256(name.encode()).hexdigest()[:16]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(context: Any) -> str:
    return run_name(context["dag"].dag_id, context["run_id"])
