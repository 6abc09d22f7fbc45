"""Contenders in turn, each in a process of its own, round after round, so that a busy machine slows all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.contender import cores
from benchmarks.peers.environment import Environment, Unavailable, last_line

_ROOT = Path(__file__).parents[2]
_LIMIT = 1800  # seconds that one run may take


@dataclass(frozen=True)
class Contender:
    """A module below ``benchmarks.peers`` with its options; ``environment`` is ours where there is none.

    Without one that is ``needed`` there is no race; any other may be missing.
    """

    name: str
    module: str
    options: tuple[str, ...] = ()
    environment: Environment | None = None
    needed: bool = False


@dataclass(frozen=True)
class Run:
    """What one run took."""

    seconds: float  # the work alone, when all is imported and loaded
    whole: float  # the process, from its start to its end
    megabytes: float  # most that were resident


@dataclass
class Result:
    """What came of a race, by the names of contenders."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # those that could not run, and why

    def best(self, name: str) -> Run:
        """The least time and the most memory of all rounds."""
        runs = self.runs[name]
        return Run(
            seconds=min(run.seconds for run in runs),
            whole=min(run.whole for run in runs),
            megabytes=max(run.megabytes for run in runs),
        )


def race(
    contenders: Sequence[Contender],
    folder: Path,
    rounds: int,
    *,
    install: bool,
    look: Callable[[str, Path], None] = lambda name, out: None,
) -> Result:
    """Run all ``rounds`` times over the work in ``folder``. ``look`` sees what each left after its first run.

    A contender that cannot be installed, or fails, is named with the reason and left out from then on. Raises
    ``Unavailable`` where that one is needed.
    """
    result = Result()
    for number in range(rounds):
        for contender in contenders:
            if contender.name in result.missing:
                continue
            print(f"round {number + 1} of {rounds}: {contender.name}", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=folder) as out:
                try:
                    run = _run(contender, folder, Path(out), install)
                    if number == 0:
                        look(contender.name, Path(out))
                except Unavailable as reason:
                    if contender.needed:
                        raise
                    result.missing[contender.name] = str(reason)
                    result.runs.pop(contender.name, None)
                    continue
            result.runs.setdefault(contender.name, []).append(run)
    return result


def _run(contender: Contender, folder: Path, out: Path, install: bool) -> Run:
    python = contender.environment.python(install) if contender.environment else Path(sys.executable)
    command = [python, "-m", f"benchmarks.peers.{contender.module}", folder, out, *contender.options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        name: str(cores()) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }  # all that there are, for all
    environment |= {"PYTHONPATH": str(_ROOT), "TMPDIR": str(out)}
    began = time.perf_counter()
    try:
        done = subprocess.run(
            list(map(str, command)),
            cwd=_ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"it was not done after {_LIMIT} seconds") from None
    whole = time.perf_counter() - began
    if done.returncode:
        raise Unavailable(last_line(done.stderr))
    said = next(line for line in reversed(done.stdout.splitlines()) if line.startswith('{"seconds"'))
    return Run(whole=whole, **json.loads(said))


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Columns under their heads, for people."""
    cells = [list(map(str, head)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )
