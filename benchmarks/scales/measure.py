"""What a command costs, as processor seconds and peak memory of a process of its own, and how that grows."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEAST = 0.5  # processor seconds beyond the smallest size's, below which a busy machine's noise says nothing
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
_SMALL = """
import json, resource, subprocess, sys
status = subprocess.call(sys.argv[2:], stdout=open(sys.argv[1], "wb"), stderr=subprocess.STDOUT)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""  # a process counts what the one that it was forked from held, so that one must be small


@dataclass(frozen=True)
class Cost:
    """What a process and those that it waited for took."""

    seconds: float  # user and system
    megabytes: float  # most that was resident, of the largest of them


def command(arguments: Sequence[str], at: Path, variables: Mapping[str, str] | None = None) -> Cost:
    """Run ``python`` with ``arguments`` in the folder ``at``. Raises ``RuntimeError`` with its last words."""
    said = at / "said.txt"
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | dict(variables or {})
    run = [sys.executable, "-c", _SMALL, str(said), sys.executable, *arguments]
    status, seconds, peak = json.loads(subprocess.run(run, cwd=at, env=env, check=True, capture_output=True).stdout)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{said.read_text(errors='replace')[-2000:]}")
    return Cost(seconds, peak * _UNIT / 1e6)


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float | None:
    """By which power of the size costs grow over the last step of ``sizes``, beyond what the smallest costs.

    1 is linear. A small quadratic part shows in the last step, if anywhere. None where it costs too little to tell.
    """
    if len(sizes) < 3:
        return None
    former, last = costs[-2] - costs[0], costs[-1] - costs[0]
    if last < LEAST or former < LEAST / 5:
        return None
    return math.log(last / former) / math.log((sizes[-1] - sizes[0]) / (sizes[-2] - sizes[0]))
