"""What a contender knows of the race; the standard library and nothing else, since it runs in any interpreter."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WINDOW, BATCH = 256, 8  # pixels a side of a window without overlap, and windows at once: what most notebooks take


def given() -> tuple[Path, Path, list[str]]:
    """The folder with the work, that for what comes of it, and the options of this contender."""
    folder, out, *options = sys.argv[1:]
    return Path(folder), Path(out), options


@contextmanager
def timed() -> Iterator[None]:
    """Around the work itself, when imports are done and models are loaded; tells the race what it took."""
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "megabytes": peak()}), flush=True)


def peak() -> float:
    """Most megabytes that this process had, or one that it has waited for."""
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():  # Linux's rusage would also count what the process that started this one had
        own = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max(own, children) / 1e6


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
