from __future__ import annotations

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from pipelines.training.memory import keep_freed
if "kept" in sys.argv:
    keep_freed()
network = torch.nn.Sequential(torch.nn.Conv2d(4, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 4, 3))
def steps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        network(torch.ones(8, 4, 128, 128)).mean().backward()
        network.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
steps()
print(steps())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_step_takes_the_memory_of_the_one_before() -> None:
    usual, kept = (
        int(subprocess.run([sys.executable, "-c", STEPS, *how], capture_output=True, text=True, check=True).stdout)
        for how in ([], ["kept"])
    )
    assert kept < usual / 10, f"{kept} pages were mapped anew in ten steps, {usual} without keeping any"
