from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

STEPS = """
import json, resource, sys
from contextlib import nullcontext

import psutil
import torch

from pipelines.training.memory import freed_kept

network = torch.nn.Sequential(torch.nn.Conv2d(4, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 4, 3))

def steps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        network(torch.ones(8, 4, 128, 128)).mean().backward()
        network.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with freed_kept() if "kept" in sys.argv else nullcontext():
    steps()
    mapped = steps()
    del network[1:]
    held = psutil.Process().memory_info().rss
print(json.dumps([mapped, held, psutil.Process().memory_info().rss]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_step_takes_the_memory_of_the_one_before_and_the_last_gives_it_back() -> None:
    (usual, _, least), (kept, held, left) = (
        json.loads(subprocess.run([sys.executable, "-c", STEPS, *how], capture_output=True, check=True).stdout)
        for how in ([], ["kept"])
    )
    assert kept < usual / 10, f"{kept} pages were mapped anew in ten steps, {usual} without keeping any"
    assert held - least > 20e6, "nothing was kept"
    assert left - least < 10e6, f"{(left - least) / 1e6:.0f} MB are still kept"
