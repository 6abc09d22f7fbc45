"""The progress of a chain on a terminal: a live table where there is one, a line for each change elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipelines.local.chain import CHAIN, TaskState

_SIGNS = {
    "success": "[green]done[/]",
    "failed": "[red]failed[/]",
    "running": "[yellow]running[/]",
    "skipped": "[dim]nothing to do[/]",
}
_NOTE_EVERY = 10  # seconds between two notes of running tasks where there is no live table
_OVER = ("success", "failed", "skipped", "upstream_failed", "removed")


class Display:
    """Shows stage, task, state, time and, where the task tells it, the share that is done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = self._noted = time.monotonic()
        self._tasks: dict[tuple[str, str, str, int], TaskState] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{self._clock()}[/]  {text}", highlight=False)

    def watch(self, tasks: list[TaskState]) -> None:
        for task in tasks:
            key = (task.dag, task.run, task.task, task.index)
            before = self._tasks.get(key)
            self._tasks[key] = task
            if (before is None or before.state != task.state) and task.state in _OVER:
                self.say(_line(task))
            elif self._live is None and task.note and time.monotonic() - self._noted > _NOTE_EVERY:
                self._noted = time.monotonic()
                self.say(f"{task.dag:16} {task.task:18} {_percent(task)} {task.note}")
        if self._live:
            self._live.update(self._table(tasks))

    def _table(self, tasks: list[TaskState]) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        order = list(CHAIN)
        for task in tasks:
            if task.state == "running":
                stage = f"{order.index(task.dag) + 1}/{len(order)} {task.dag}"
                name = task.task if task.index < 0 else f"{task.task} [{task.index}]"
                table.add_row(self._clock(), stage, name, f"{task.seconds:5.0f} s", _percent(task), task.note)
        waiting = Counter(task.state for task in tasks if task.state not in (*_OVER, "running"))
        if waiting:
            table.add_row(self._clock(), "", f"[dim]{sum(waiting.values())} more to come[/]", "", "", "")
        return table

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 60:2d}:{seconds % 60:02d}"


def _line(task: TaskState) -> str:
    name = task.task if task.index < 0 else f"{task.task}\\[{task.index}]"
    return f"{task.dag:16} {name:18} {_SIGNS.get(task.state, task.state)} {task.seconds:6.1f} s"


def _percent(task: TaskState) -> str:
    return f"{100 * task.share:3.0f} %" if task.share is not None else ""
