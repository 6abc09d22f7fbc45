"""The command, on an installation that has made nothing yet; tests/upkeep/test_recovery.py has one with a champion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.main import commands
from pipelines.config import load_params
from pipelines.doctor.examine import examine

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SWATH_CATALOG", "SWATH_PREDICTIONS", "SWATH_REPORTS", "SWATH_DVC_REMOTE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    return tmp_path / "home"


@pytest.mark.slow
def test_the_status_says_whether_anything_is_at_fault(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = CliRunner().invoke(commands(), ["doctor", "--json"])
    said = json.loads(ran.stdout)
    assert (ran.exit_code, said["faults"]) == (0, 0), said
    monkeypatch.setenv("SWATH_DVC_REMOTE", "s3://dvc/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    ran = CliRunner().invoke(commands(), ["doctor"])
    assert ran.exit_code == 1 and "s3://dvc/x cannot be written" in ran.stdout and "-> Check SWATH_DVC" in ran.stdout


def test_a_check_that_breaks_is_a_fault_and_the_others_go_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))  # so that there is no git to ask
    (home / "watched" / ".git").mkdir(parents=True)
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(home / "watched"))
    found = list(examine(ROOT, load_params(ROOT / "params.yaml")))
    (broken,) = [one for one in found if one.check == "Doctor"]
    assert broken.word == "fault" and "'git'" in broken.what
    assert found[-1].check == "Champion"


@pytest.mark.slow
def test_nothing_heavy_is_imported_where_there_is_no_champion() -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom pipelines.config import load_params\n"
        "from pipelines.doctor.examine import examine\n"
        f"found = list(examine(Path({str(ROOT)!r}), load_params(Path({str(ROOT / 'params.yaml')!r}))))\n"
        "assert found[-1].check == 'Champion' and found[-1].word == 'skipped', found[-1]\n"
        "print(sorted({'torch', 'rasterio', 'whylogs', 'great_expectations', 'airflow'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
