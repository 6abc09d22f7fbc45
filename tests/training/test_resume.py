import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import torch

from pipelines.config.params import Model
from pipelines.files import read_json, sha256
from pipelines.training.network import build
from tests.training.workspaces import BANDS, CLASSES, make_workspace

CHECKOUT = Path(__file__).parents[2]


def start(workspace: Path, home: Path) -> subprocess.Popen:
    environment = os.environ | {
        "SWATH_HOME": str(home),
        "SWATH_PROGRESS": str(workspace / "progress.json"),
        "SWATH_REVISION": "c0ffee",
        "PYTHONPATH": str(CHECKOUT),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow/mlflow.db",
    }
    return subprocess.Popen([sys.executable, "-m", "pipelines", "train"], cwd=workspace, env=environment)


def kill_after(process: subprocess.Popen, epoch: int, progress: Path) -> None:
    """SIGKILL once ``epoch`` is reported, unless the process ends before."""
    while process.poll() is None:
        if progress.exists() and read_json(progress)["done"] >= epoch:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"hard": 0.4, "freeze": 1, "crop": 32}], ids=["plain", "hard"])
def test_a_killed_training_gives_the_bytes_of_one_that_never_was(tmp_path, more):
    # FPN has dropout, so chance enters by batch order, augmentation and network alike
    model = {"library": "smp", "name": "FPN", "encoder": "resnet18", "weights": None}
    if "freeze" in more:  # of weights that come from elsewhere
        given = build(Model(**model), len(BANDS), len(CLASSES)).encoder
        torch.save(given.state_dict(), tmp_path / "encoder.pth")
        model["weights"] = str(tmp_path / "encoder.pth")
    settings = {"epochs": 4, "model": model} | more
    whole, broken = (make_workspace(tmp_path / name, train=12, val=4, **settings) for name in ("whole", "broken"))
    assert start(whole, tmp_path / "home").wait() == 0
    process = start(broken, tmp_path / "home")
    kill_after(process, 2, broken / "progress.json")
    assert process.returncode == -signal.SIGKILL
    assert not (broken / "data" / "train").exists()
    [left] = (tmp_path / "home" / "training").iterdir()
    began = read_json(left / "run.json")["run_id"]
    assert start(broken, tmp_path / "home").wait() == 0
    for file in ("train/weights.safetensors", "train/model.json", "history.csv"):
        assert sha256(broken / "data" / file) == sha256(whole / "data" / file)
    assert read_json(broken / "data" / "train" / "run.json")["run_id"] == began
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/home/mlflow/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED"]
    steps = [m.step for m in client.get_metric_history(began, "val_loss")]
    assert set(steps) == {1, 2, 3, 4}
    assert steps.count(1) == 1  # it went on, rather than from the start
    assert not any((tmp_path / "home" / "training").iterdir())
