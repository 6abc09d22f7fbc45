from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from pipelines.cli.lifeline import LIFELINE
from plugins.commands import PlanOperator, SwathOperator

ROOT = Path(__file__).parents[2]


class Task:
    """The part of a task instance that the operators use."""

    task_id = "task"

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(dag: DAG) -> dict[str, Any]:
    events: dict[Any, Any] = {Asset("scenes"): SimpleNamespace(extra=None)}
    return {"dag": dag, "run_id": "manual__2026+00:00", "ti": Task(), "params": {}, "outlet_events": events}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the operator start this shell script instead of Python, as a setting may."""
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))

    def use(script: str) -> None:
        file = tmp_path / "interpreter"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("SWATH_PYTHON", str(file))

    return use


def operator(kind: type = SwathOperator, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    dag = DAG("demo", schedule=None)
    return kind(task_id="task", command=["do", "--run={run}"], dag=dag, **kwargs), context(dag)


def ended(pid: int) -> None:
    """Fails unless the process ends soon; an orphan may stay a zombie where nobody reaps it."""
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.05)


def answers(value: dict[str, Any]) -> str:
    return f"echo '{json.dumps(value)}' > $SWATH_RESULT; echo \"$@\" >&2"


def test_the_answer_of_the_command_is_the_tasks(command: Any, caplog: pytest.LogCaptureFixture) -> None:
    command(answers({"found": 3}))
    task, ctx = operator(revision="abc")
    assert task.execute(ctx)["found"] == 3
    assert task.arguments(ctx) == [
        "at",
        *("--run", "demo.manual__2026-00-00", "--revision", "abc"),
        *("--", "do", "--run=demo.manual__2026-00-00"),
    ]


def test_the_command_knows_the_run_that_it_works_for(command: Any) -> None:
    command(r"""printf '{"run": "%s"}' "$SWATH_RUN" > $SWATH_RESULT""")
    task, ctx = operator()
    assert task.execute(ctx)["run"] == "demo/manual__2026+00:00"


def test_the_command_knows_who_triggered_its_run(command: Any) -> None:
    command(r"""printf '{"who": "%s"}' "$SWATH_PERSON" > $SWATH_RESULT""")
    task, ctx = operator()
    assert task.execute(ctx)["who"] == ""
    assert task.execute(ctx | {"dag_run": SimpleNamespace(triggering_user_name="ada")})["who"] == "ada"


def test_bad_data_fails_at_once_with_its_sentence(command: Any) -> None:
    command("echo 'swath: scene 7 has no bands; fetch it again.' >&2; exit 65")
    task, ctx = operator()
    with pytest.raises(AirflowFailException, match=r"^scene 7 has no bands; fetch it again\.$"):
        task.execute(ctx)


def test_a_sentence_of_several_lines_is_told_whole(command: Any) -> None:
    command(
        "echo 'INFO of before' >&2; printf 'swath: params.yaml is wrong:\\n  a: is no number\\n' >&2; "
        "echo '  b: is missing' >&2; exit 65"
    )
    task, ctx = operator()
    with pytest.raises(AirflowFailException, match=r"^params.yaml is wrong: a: is no number b: is missing$"):
        task.execute(ctx)


def test_anything_else_is_worth_a_retry(command: Any) -> None:
    command("echo 'swath: the store is away' >&2; exit 1")
    task, ctx = operator()
    with pytest.raises(AirflowException, match="the store is away") as raised:
        task.execute(ctx)
    assert not isinstance(raised.value, AirflowFailException)


def test_credentials_that_a_library_prints_are_in_no_log_and_no_error(
    command: Any, caplog: pytest.LogCaptureFixture
) -> None:
    command("echo 'HTTPError: 507 for url: http://bob:planted@127.0.0.1/x' >&2; exit 1")
    task, context = operator()
    with pytest.raises(AirflowException, match=r"http://\*\*\*@127\.0\.0\.1/x") as failed:
        task.execute(context)
    assert "planted" not in caplog.text + str(failed.value)


def test_where_the_task_that_plans_has_failed_there_is_nothing_to_do(command: Any) -> None:
    command(answers({"found": 3}))
    task, context = operator(revision="{{ nothing }}")
    task.revision = ""  # as it renders where that task has no result
    with pytest.raises(AirflowSkipException, match="has failed"):
        task.execute(context)
    task.revision = "c0ffee"
    assert task.execute(context)["found"] == 3


def test_a_word_that_is_no_text_leaves_the_command_alone(command: Any) -> None:
    command("printf 'm\\374nchen.tif is odd\\n' >&2; " + answers({"scenes": 7}))
    task, ctx = operator()
    assert task.execute(ctx)["scenes"] == 7


def test_an_event_leaves_only_when_content_changed(command: Any) -> None:
    scenes = Asset("scenes")
    command(answers({"changed": True, "revision": "abc", "project": "demo", "ids": [1]}))
    task, ctx = operator(emits=scenes)
    task.execute(ctx)
    assert ctx["outlet_events"][scenes].extra == {"revision": "abc", "project": "demo"}
    command(answers({"changed": False, "scenes": 7}))
    with pytest.raises(AirflowSkipException):
        task.execute(ctx)
    assert ctx["ti"].pushed["return_value"]["scenes"] == 7, "what was found must be readable though nothing changed"


def test_a_plan_is_mapped_by_its_shards(command: Any) -> None:
    command(answers({"shards": 3, "revision": "abc"}))
    task, ctx = operator(PlanOperator)
    assert task.execute(ctx) == [0, 1, 2]
    assert ctx["ti"].pushed["plan"]["revision"] == "abc"


def test_stopping_a_task_stops_the_children_of_its_command(command: Any, tmp_path: Path) -> None:
    command(f"sleep 300 & echo $! > {tmp_path}/child; wait")
    task, ctx = operator()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            task.execute(ctx)
        except AirflowException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        time.sleep(0.05)
    child = int((tmp_path / "child").read_text())
    assert psutil.pid_exists(child)
    task.on_kill()
    thread.join(60)
    assert failed and not thread.is_alive()
    ended(child)


def test_what_a_killed_command_left_at_work_is_ended_before_the_next_attempt(command: Any, tmp_path: Path) -> None:
    """DVC, say, which has not yet started the stage that would notice."""
    command(f"sleep 300 <&- >&- 2>&- & echo $! > {tmp_path}/child; kill -9 $$")
    task, ctx = operator()
    with pytest.raises(AirflowException, match="status -9"):
        task.execute(ctx)
    ended(int((tmp_path / "child").read_text()))


KILLED = """
import sys
from tests.plugins.test_commands import operator
task, given = operator()
task.execute(given)
"""


SUPERVISED = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.mark.parametrize("above", [[KILLED], [SUPERVISED, KILLED]], ids=["task", "supervisor"])
def test_a_killed_task_takes_its_command_with_it_and_the_next_attempt_clears_its_scratch(
    command: Any, tmp_path: Path, above: list[str]
) -> None:
    held = "import sys, time; from pipelines.cli.lifeline import hold; hold(); time.sleep(300)"
    command(f"touch $TMPDIR/left; echo $PPID $$ > {tmp_path}/child; exec {sys.executable} -c '{held}'")
    task = subprocess.Popen([sys.executable, "-c", *above], cwd=ROOT)
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        assert task.poll() is None
        time.sleep(0.05)
    runner, child = map(int, (tmp_path / "child").read_text().split())
    time.sleep(1)
    assert psutil.pid_exists(child)
    task.kill()
    task.wait()
    ended(child)
    ended(runner)
    command(answers({}))
    again, given = operator()
    again.execute(given)
    assert not list((tmp_path / "home" / "scratch").iterdir())


def test_every_command_of_swath_ends_with_whoever_started_it(tmp_path: Path) -> None:
    region = ["sample", "--out", str(tmp_path), "--size", "10980"]  # would take many minutes
    environment = os.environ | {LIFELINE: "stdin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines", *region]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True) as started:
        assert started.stdin is not None
        started.stdin.close()
        assert started.wait(60) == -signal.SIGKILL


def test_a_task_stopped_while_its_command_starts_stops_it_then(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command("sleep 300")
    task, ctx = operator()

    class Interrupted(subprocess.Popen):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            task.on_kill()  # as from the handler of a signal, before the task has been given its process

    monkeypatch.setattr("plugins.commands.subprocess.Popen", Interrupted)
    with pytest.raises(AirflowException, match="status -15"):
        task.execute(ctx)


def test_a_timeout_ends_the_command_too(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's raises from a signal's handler, wherever the task is; here it is reading the command's words."""
    command(f"echo $$ > {tmp_path / 'pid'}; echo working >&2; sleep 300")
    made, given = operator()

    def ring(line: str, *_: Any) -> None:
        if line == "%s":
            raise TimeoutError("out of time")

    monkeypatch.setattr(made.log, "info", ring)
    with pytest.raises(TimeoutError, match="out of time"):
        made.execute(given)
    ended(int((tmp_path / "pid").read_text()))


def test_what_an_event_names_may_be_outdated_and_what_a_form_names_is_meant() -> None:
    made, given = operator()
    told = SimpleNamespace(timestamp=1, extra={"revision": "abc"})
    assert made.where(given | {"triggering_asset_events": {"scenes": [told]}})[2:] == ["--revision", "abc", "--newest"]
    assert made.where(given | {"params": {"revision": "abc"}})[2:] == ["--revision", "abc"]
