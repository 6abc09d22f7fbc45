"""Tasks and services killed under the real scheduler, several in each run of the chain, and the outcome compared."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

from pipelines.lineage.run import RUN
from tests.faults.record import Fate, Outcome
from tests.faults.state import Facts, compared, differences, facts, remainders
from tests.faults.system import DAGS, DONE, System, instances, last_words
from tests.faults.tasks import RUN_ID
from tests.faults.world import World

_VICTIMS = ("command", "command", "task process", "task process", "first process", "supervisor")
_LIMIT = 1200  # seconds of one DAG run: not a promise, only so that a lost one ends the round
_MOST = (1, 1, 1, 2)  # kills of one task instance, which is tried three times


@dataclass
class Kill:
    """Something to be done to a task instance that is at work."""

    at: float
    kind: str
    process: psutil.Process
    task: str


@dataclass
class Round:
    """One run of the chain under faults. ``seconds``: how long each task takes undisturbed."""

    system: System
    revision: str
    number: int
    seed: int
    only: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    struck: list[tuple[str, str]] = field(default_factory=list)  # kind and task of the kills that hit
    seen: set[tuple[int, float]] = field(default_factory=set)  # commands, by process and time

    def run(self, kills: bool, service: str | None = None) -> list[str]:
        """Follow each DAG to its end; returns what is wrong with the tasks, not yet with what they left."""
        wrong = []
        for dag in DAGS:
            self.system.begin(dag, self.revision)
            wrong += self._follow(dag, kills, service)
        return wrong

    def _follow(self, dag: str, kills: bool, service: str | None) -> list[str]:
        deadline, due = time.monotonic() + _LIMIT, list[Kill]()
        chance = random.Random(f"{self.seed}/{self.number}/{dag}/service")
        outage = time.monotonic() + chance.uniform(1, 20) if service else None
        looked = 0.0
        while True:
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                state = self.system.airflow.run(dag, RUN_ID)["state"]
                if state in DONE:
                    break
                if looked > deadline:
                    return [f"{dag} is {state} after {_LIMIT} s"]
            if outage and time.monotonic() > outage and service:
                self._outage(service, dag)
                outage = None
            if kills:
                due += self._new(dag)
                due = [kill for kill in due if not self._strike(kill)]
            time.sleep(0.2)
        tasks = self.system.airflow.tasks(dag, RUN_ID)
        self.seconds |= {f"{dag}.{t['task_id']}": float(t["duration"] or 0) for t in tasks}
        failed = [t for t in tasks if t["state"] in ("failed", "upstream_failed")]
        return [f"{dag}.{t['task_id']} {t['state']}: {last_words(self.system.world, dag, t)}" for t in failed[:1]]

    def _new(self, dag: str) -> list[Kill]:
        """Kills for commands that were not there at the last look."""
        found = []
        for process in self.system.processes():
            try:
                known = process.pid, process.create_time()
                ours = process.environ().get(RUN) == f"{dag}/{RUN_ID}" and os.getpgid(process.pid) == process.pid
            except (psutil.Error, OSError):
                continue
            if known in self.seen or not ours:
                continue
            self.seen.add(known)
            found += self._kill(dag, process)
        return found

    def _kill(self, dag: str, process: psutil.Process) -> list[Kill]:
        task = next((t for t in instances(self.system.airflow.tasks(dag, RUN_ID)) if _is(t, process)), None)
        name = f"{dag}.{task}"
        before = sum(1 for _, struck in self.struck if struck == name)
        most = random.Random(f"{self.seed}/{self.number}/{name}").choice(_MOST)
        if task is None or before >= most or (self.only and name != self.only):
            return []
        chance = random.Random(f"{self.seed}/{self.number}/{name}/{before}")
        length = self.seconds.get(f"{dag}.{task.split('[')[0]}", 5.0)
        after = chance.uniform(0.02, 0.9) * length
        return [Kill(process.create_time() + after, chance.choice(_VICTIMS), process, name)]

    def _strike(self, kill: Kill) -> bool:
        """Whether the kill is done with: struck, or its victim has ended."""
        if not kill.process.is_running() or kill.process.status() == psutil.STATUS_ZOMBIE:
            return True
        if time.time() < kill.at:
            return False
        try:
            above = kill.process.parents()
            if kill.kind == "command":
                os.killpg(kill.process.pid, signal.SIGKILL)
            elif kill.kind == "first process":
                kill.process.kill()
            else:
                above[0 if kill.kind == "task process" else 1].kill()
        except (psutil.Error, OSError):
            return True
        self.struck.append((kill.kind, kill.task))
        print(f"  killed the {kill.kind} of {kill.task}", flush=True)
        return True

    def _outage(self, service: str, dag: str) -> None:
        part, _, seconds = service.partition(":")
        print(f"  killed {part} during {dag}", flush=True)
        self.system.kill(part)
        self.struck.append((f"{part} killed" + (f", away for {seconds} s" if seconds else ""), dag))
        time.sleep(float(seconds or 3))
        self.system.start(part)


def rounds(world: World, kills: int, outages: list[str], seed: int, only: str | None) -> Iterator[list[Outcome]]:
    """One undisturbed run of the chain to compare with, then one after the other under faults, with all that it had."""
    system, struck, seconds = System(world), set[str](), dict[str, float]()
    try:
        revision = _revision(world)
        expected, seconds = _undisturbed(system, revision)
        print(f"undisturbed: {sum(seconds.values()):.0f} s of tasks, {len(expected)} facts", flush=True)
        if only:
            task, _, number = only.split(":")
            yield _round(Round(system, revision, int(number), seed, task, dict(seconds)), None, expected)
            return
        for number, service in enumerate(filter(None, outages)):
            yield _round(Round(system, revision, number, seed, None, dict(seconds)), service, expected)
        done, number = 0, len(outages)
        while done < kills:
            outcomes = _round(Round(system, revision, number, seed, None, dict(seconds)), None, expected)
            struck |= {one.task.partition("[")[0] for one in outcomes}
            yield outcomes
            done, number = done + len(outcomes), number + 1
    finally:
        system.stop()
        if struck and (spared := sorted(set(seconds) - struck)):
            print(f"never struck: {', '.join(spared)}", flush=True)


def _undisturbed(system: System, revision: str) -> tuple[Facts, dict[str, float]]:
    system.reset()
    quiet = Round(system, revision, 0, 0)
    wrong = quiet.run(kills=False)
    assert not wrong, wrong
    return compared(facts(system.world)), quiet.seconds


def _round(round_: Round, service: str | None, expected: Facts) -> list[Outcome]:
    round_.system.reset()
    wrong = round_.run(kills=service is None, service=service)
    return judge(round_, wrong, expected)


def _revision(world: World) -> str:
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=world.checkout, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def judge(round_: Round, wrong: list[str], expected: Facts) -> list[Outcome]:
    """The fate of each fault of a round: what is wrong in the end is laid at the door of all, until one is repeated."""
    told = list(wrong)
    told += differences(expected, facts(round_.system.world))
    told += [f"{name} is left over" for name in remainders(round_.system.world)]
    if left := round_.system.processes():
        told.append(f"{len(left)} processes go on")
    if told:
        print("  wrong: " + "; ".join(told[:12]), flush=True)
    fate: Fate = "lost" if told else "survived"
    return [
        Outcome(f"{task}:round:{round_.number}", kind, task, fate, "; ".join(told[:5])) for kind, task in round_.struck
    ]


def _is(task: str, process: psutil.Process) -> bool:
    """Whether the process is of the task: the operator hands its id and shard on in the name of the progress file."""
    try:
        name, _, index = task.rstrip("]").partition("[")
        return process.environ().get("SWATH_PROGRESS", "").endswith(f".{name}{index and f'.{index}'}.json")
    except (psutil.Error, OSError):
        return False
