"""How growth is measured: what a process takes, and by which power."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scales.measure import command, exponent
from benchmarks.scales.report import table

BUSY = (
    "import time; held = bytearray(150_000_000); end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
)


def test_a_command_is_charged_for_itself_and_for_what_it_starts_but_not_for_who_starts_it(tmp_path: Path) -> None:
    ours = bytearray(300_000_000)
    small = command(("-c", "pass"), tmp_path)
    alone = command(("-c", BUSY), tmp_path)
    through = command(("-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"), tmp_path)
    assert len(ours) and small.megabytes < 100 and small.seconds < 0.4
    for cost in (alone, through):
        assert 150 < cost.megabytes < 250 and 0.4 <= cost.seconds < 2
    with pytest.raises(RuntimeError, match="no such luck"):
        command(("-c", "raise SystemExit('no such luck')"), tmp_path)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0])
def test_the_power_is_that_by_which_cost_grows_beyond_what_every_size_costs(power: float) -> None:
    sizes = [10, 1_000, 10_000]
    found = exponent(sizes, [3 + 0.01 * size**power for size in sizes])
    assert found == pytest.approx(power, abs=0.06)


def test_growth_within_the_noise_is_not_given_a_power() -> None:
    assert exponent([10, 100, 1_000], [3.0, 2.9, 3.3]) is None
    assert exponent([10, 100], [1.0, 90.0]) is None and exponent([10], [1.0]) is None
    assert "| less than 0.5 s |" in table({"scenes": {"step": {"10": [3, 90], "100": [3, 90], "1000": [3.3, 91]}}})
