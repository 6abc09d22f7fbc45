"""Commands struck without a scheduler: each starts from the state before it, fails, is tried again, and is compared."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.cli.result import RESULT_FILE
from pipelines.files import read_json
from tests.faults.record import Fate, Outcome
from tests.faults.source import Source
from tests.faults.state import Facts, compared, differences, facts, remainders
from tests.faults.tasks import Command, Results, commands
from tests.faults.world import World, remove

KILLS = ("all processes killed", "all processes killed", "the first process killed", "the last process killed")
FULL, ROT, ROT_AFAR, CUT = "disk full", "cache object rotten", "remote object rotten", "download cut"
_TRIES = 3
_SPACE = re.compile(r"no space (is )?left|disk (is )?full|disk of", re.IGNORECASE)
_THERE = ("workspaces/", "bundles/")


@dataclass(frozen=True)
class Step:
    """A command, how long it takes, how much room, and what it leaves undisturbed."""

    command: Command
    seconds: float
    grows: int  # bytes on disk
    expected: Facts


def strikes(
    world: World, source: Source, kills: int, spoils: int, seed: int, only: str | None, begin: str | None
) -> Iterator[Outcome]:
    """Each command of the chain undisturbed, then, from ``begin`` on, so many times under each kind of fault.

    ``only`` is ``TASK:kill:NUMBER`` or ``TASK:spoil:NUMBER``; all that is random follows from that and the seed.
    """
    results: Results = {}
    begun = begin is None
    for command in commands(_revision(world), results):
        world.keep("before")
        step = _undisturbed(world, command, results)
        print(f"undisturbed {command.name}: {step.seconds:.1f} s, {len(step.expected)} facts", flush=True)
        world.keep("after")
        begun = begun or command.name.partition("[")[0] == begin
        for strike, count in ((kill, kills), (spoil, spoils)) if begun else ():
            for number in range(count):
                name = f"{command.name}:{strike.__name__}:{number}"
                if only in (None, name):
                    world.restore("before")
                    yield strike(world, step, name, random.Random(f"{seed}/{name}"), source)
        world.restore("after")
        if only and only.startswith(f"{command.name}:"):
            return


def _undisturbed(world: World, command: Command, results: Results) -> Step:
    began, before = time.monotonic(), world.used()
    code, said = finish(start(world, command))
    assert code == 0, f"{command.name} failed undisturbed: {said}"
    seconds = time.monotonic() - began
    results.setdefault((command.dag, command.task), {}).update(read_json(_answer(world)))
    world.clear_scratch()
    return Step(command, seconds, max(0, world.used() - before), compared(facts(world)))


def kill(world: World, step: Step, name: str, chance: random.Random, source: Source) -> Outcome:
    """Kill the command at a random moment, and try it again."""
    kind = chance.choice(KILLS)
    if not _kill(start(world, step.command), kind, chance.uniform(0.02, 1.0) * step.seconds):
        return Outcome(name, kind, step.command.name, "missed")
    return _retried(world, step, name, kind)


def spoil(world: World, step: Step, name: str, chance: random.Random, source: Source) -> Outcome:
    """A fault that is no kill."""
    if step.command.task == "fetch":
        kind = chance.choice((FULL, CUT, CUT))
    elif (world.home / "dvc").exists():
        kind = chance.choice((FULL, ROT, ROT_AFAR))
    else:
        kind = FULL
    if kind == FULL:
        return _full(world, step, name, chance)
    if kind == CUT:
        source.cut, source.cuts, source.bytes_sent = 0, chance.randint(1, 12), chance.randint(0, 20_000)
        return _retried(world, step, name, kind)
    return _rotten(world, step, name, kind, chance)


def _full(world: World, step: Step, name: str, chance: random.Random) -> Outcome:
    if not world.room(int(chance.uniform(0, step.grows + 200_000))):
        return Outcome(name, FULL, step.command.name, "missed", "no disk of its own: not root")
    code, said = finish(start(world, step.command))
    world.room(None)
    world.clear_scratch()
    if code == 0:
        return _outcome(world, step, name, FULL)
    after = _retried(world, step, name, FULL)
    if after.fate == "survived":
        fate: Fate = "told" if _SPACE.search(said) else "lost"
        return Outcome(name, FULL, step.command.name, fate, f"status {code}: {said[-300:]}")
    return Outcome(name, FULL, step.command.name, "lost", f"status {code}: {said[-200:]}; then {after.note}")


def _rotten(world: World, step: Step, name: str, kind: str, chance: random.Random) -> Outcome:
    """A bit flips in a stored object, and the step is taken by a worker that was not there before."""
    dvc = world.home / "dvc"
    objects = sorted((dvc / ("cache" if kind == ROT else "remote") / "files").rglob("*"))
    file = chance.choice([path for path in objects if path.is_file() and path.stat().st_size])
    whole, mode = file.read_bytes(), file.stat().st_mode
    at = chance.randrange(len(whole))
    _overwrite(file, whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :], mode)
    remove(world.home / "workspaces")
    if kind == ROT_AFAR:
        remove(dvc / "cache")
    code, said = finish(start(world, step.command))
    world.clear_scratch()
    told = kind == ROT_AFAR and file.name in said
    if file.exists():  # done as the sentence says; or nobody needed it, and nobody looked
        file.unlink()
        _overwrite(file, whole, mode)
    if code == 0:
        return _outcome(world, step, name, kind, elsewhere=True)
    if not told:
        return Outcome(name, kind, step.command.name, "lost", f"status {code}: {said[-300:]}")
    after = _retried(world, step, name, kind, elsewhere=True)
    return after if after.fate == "lost" else Outcome(name, kind, step.command.name, "told", said[-300:])


def _overwrite(file: Path, content: bytes, mode: int) -> None:
    if file.exists():
        file.chmod(0o600)
    file.write_bytes(content)
    file.chmod(mode)


def _retried(world: World, step: Step, name: str, kind: str, elsewhere: bool = False) -> Outcome:
    """Try until it ends well, as Airflow does, and compare."""
    code, said = 1, ""
    for _ in range(_TRIES):
        code, said = finish(start(world, step.command))
        world.clear_scratch()
        if code == 0:
            return _outcome(world, step, name, kind, elsewhere)
    return Outcome(name, kind, step.command.name, "lost", f"status {code} after {_TRIES} tries: {said[-300:]}")


def _outcome(world: World, step: Step, name: str, kind: str, elsewhere: bool = False) -> Outcome:
    """Compare what is left. ``elsewhere``: in a workspace and on a machine of its own."""
    expected, found = step.expected, facts(world)
    if elsewhere:  # what others left in theirs is not here
        expected = {fact: v for fact, v in expected.items() if not fact.startswith(_THERE) or fact in found}
    told = differences(expected, found)
    told += [f"{left} is left over" for left in remainders(world)]
    return Outcome(name, kind, step.command.name, "lost" if told else "survived", "; ".join(told[:5]))


def start(world: World, command: Command) -> subprocess.Popen[str]:
    _answer(world).unlink(missing_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", *command.arguments],
        env=os.environ | command.environment | {RESULT_FILE: str(_answer(world)), "TMPDIR": str(world.scratch)},
        cwd=world.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(running: subprocess.Popen[str]) -> tuple[int, str]:
    """Its status and its last words, once nobody holds its standard error any more, as the operator waits; and as that
    one does, it ends what a command that failed has left at work."""
    assert running.stderr is not None
    lines = [line.rstrip() for line in running.stderr if line.strip()]
    if status := running.wait():
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    return status, lines[-1] if lines else ""


def _kill(running: subprocess.Popen[str], kind: str, after: float) -> bool:
    """Whether it was killed: there may be nothing to kill after so many seconds."""
    try:
        running.wait(after)
        finish(running)
        return False
    except subprocess.TimeoutExpired:
        pass
    if kind == KILLS[0]:
        os.killpg(running.pid, signal.SIGKILL)
    else:
        below = psutil.Process(running.pid).children(recursive=True)
        victim = below[-1].pid if below and kind == KILLS[-1] else running.pid
        os.kill(victim, signal.SIGKILL)
    status, _ = finish(running)
    return status != 0  # or the last process had nothing more to do


def _answer(world: World) -> Path:
    return world.folder / "result.json"


def _revision(world: World) -> str:
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=world.checkout, capture_output=True, text=True, check=True)
    return told.stdout.strip()
