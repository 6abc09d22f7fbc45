import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from pipelines.config import load_params
from pipelines.config.params import Model
from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.statistics import Statistics, fill_masked
from pipelines.errors import BadData, SwathError
from pipelines.files import read_json, sha256, write_json
from pipelines.training.attempt import attempt
from pipelines.training.batches import BatchOrder
from pipelines.training.checkpoint import Normalized, load_trained
from pipelines.training.losses import CombinedLoss
from pipelines.training.network import build, encoder
from pipelines.training.task import TrainingTask, optimizers
from pipelines.training.tracking import log_epoch, tracked
from pipelines.training.train import train
from tests.training.workspaces import BANDS, CLASSES, make_workspace

HASH = "0123456789abcdef0123456789abcdef.dir"


@dataclass
class Done:
    workspace: Path
    home: Path
    result: dict


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One model trained in this process, with everything that it logged."""
    root = tmp_path_factory.mktemp("train")
    workspace = make_workspace(root / "workspace", epochs=8, lr=0.003, augment=["flip", "rotate90"])
    lock = {"stages": {"chip": {"outs": [{"path": "data/chips", "md5": HASH}]}}}
    (workspace / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWATH_HOME", str(root / "home"))
        patch.setenv("SWATH_REVISION", "c0ffee")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
        patch.setenv("SWATH_PROGRESS", str(root / "progress.json"))
        result = train(workspace, load_params(workspace / "params.yaml"))
        yield Done(workspace, root / "home", result)


@pytest.fixture
def run(done):
    return mlflow.MlflowClient(f"sqlite:///{done.home}/mlflow/mlflow.db").get_run(done.result["run_id"])


@pytest.mark.slow
def test_a_few_chips_are_learned_by_heart_and_found_again_on_disk(done):
    model, spec = load_trained(done.workspace / "data" / "train")
    assert spec.bands == BANDS
    assert [c.name for c in spec.classes] == list(CLASSES)
    assert spec.resolution == (10.0, 10.0)
    assert spec.model.depth == 3  # of chips of 64 px
    assert not model.training
    store = ChipStore(done.workspace / "data" / "chips")
    rows = store.rows("val")
    pixels, labels, masks = store.gather(rows)
    images = fill_masked(physical(pixels, store.scale[rows], store.offset[rows]), masks, spec.statistics.means)
    with torch.inference_mode():
        predicted = model(torch.from_numpy(images)).argmax(1).numpy()
    assert (predicted == labels)[labels != 255].mean() > 0.95
    assert done.result["val_miou"] > 0.9


@pytest.mark.slow
def test_the_curves_are_a_table_that_dvc_can_plot(done):
    table = pd.read_csv(done.workspace / "data" / "history.csv")
    assert list(table.columns) == ["epoch", "train_loss", "val_loss", "val_miou", "lr"]
    assert list(table["epoch"]) == list(range(1, done.result["epochs"] + 1))
    assert table["train_loss"].iloc[-1] < table["train_loss"].iloc[0] / 2
    assert table["val_loss"].idxmin() + 1 == done.result["best_epoch"]
    said = read_json(done.home.parent / "progress.json")
    assert (said["done"], said["total"]) == (done.result["epochs"], 8)
    assert "val mIoU" in said["what"]


@pytest.mark.slow
def test_the_run_holds_parameters_curves_and_the_load_of_the_machine(done, run):
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.003"
    assert run.data.params["train.model.encoder"] == "resnet18"
    client = mlflow.MlflowClient(f"sqlite:///{done.home}/mlflow/mlflow.db")
    for name in ("train_loss", "val_loss", "val_miou", "val_iou_forest", "lr"):
        steps = [m.step for m in client.get_metric_history(run.info.run_id, name)]
        assert steps == list(range(1, done.result["epochs"] + 1))
    assert any(name.startswith("system/cpu") for name in run.data.metrics)
    assert client.get_experiment(run.info.experiment_id).name == "tiny"


@pytest.mark.slow
def test_the_run_names_the_dataset_by_its_dvc_hash_and_the_commit(done, run):
    [used] = run.inputs.dataset_inputs
    assert used.dataset.digest == HASH
    assert json.loads(used.dataset.source)["tags"] == {"path": "data/chips", "commit": "c0ffee", "dvc": HASH}
    tags = {name: run.data.tags[f"swath.{name}"] for name in ("commit", "dataset", "project", "task")}
    assert tags == {"commit": "c0ffee", "dataset": HASH, "project": "tiny", "task": "segmentation"}


@pytest.mark.slow
@pytest.mark.parametrize("plot", ["confusion", "precision_recall", "samples"])
def test_the_run_has_plots_beside_the_database(done, run, plot):
    [picture] = (done.home / "mlflow" / "artifacts").rglob(f"plots/{plot}.png")
    assert run.info.run_id in picture.parts
    assert np.asarray(Image.open(picture).convert("L")).std() > 5


@pytest.mark.slow
def test_nothing_unfinished_is_left_and_the_same_seed_gives_the_same_bytes(done):
    assert not any((done.home / "training").iterdir())
    weights = done.workspace / "data" / "train" / "weights.safetensors"
    before = sha256(weights)
    again = train(done.workspace, load_params(done.workspace / "params.yaml"))
    assert sha256(weights) == before
    assert again["run_id"] != done.result["run_id"]
    assert read_json(done.workspace / "data" / "train" / "run.json")["run_id"] == again["run_id"]


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("certificate.json", {"clean": False, "findings": ["val and test share 3 m2."]}, "share 3 m2"),
        ("validation/result.json", {"success": False, "findings": ["one chip is empty."]}, "one chip is empty"),
    ],
)
def test_uncertified_chips_are_not_trained_on(tmp_path, monkeypatch, file, change, sentence):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    workspace = make_workspace(tmp_path / "workspace", train=2, val=1)
    path = workspace / "data" / file
    write_json(path, read_json(path) | change)
    with pytest.raises(BadData, match=sentence):
        train(workspace, load_params(workspace / "params.yaml"))
    path.unlink()
    with pytest.raises(BadData, match="does not exist"):
        train(workspace, load_params(workspace / "params.yaml"))
    assert not (tmp_path / "home").exists()
    assert not (workspace / "data" / "train").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": {"library": "smp", "name": "Unet", "encoder": "tu-swin_tiny_patch4_window7_224"}}, "chip or window"),
        (
            {"model": {"library": "smp", "name": "DeepLabV3", "encoder": "resnet18"}, "batch": 1},
            r"trained on 1 chip\(s\)",
        ),
    ],
)
def test_a_network_that_does_not_take_the_chips_is_told_before_it_trains(tmp_path, monkeypatch, settings, sentence):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    workspace = make_workspace(tmp_path / "workspace", train=3, val=1, **settings)
    with pytest.raises(BadData, match=sentence):
        train(workspace, load_params(workspace / "params.yaml"))


def test_a_network_of_one_size_of_input_is_told_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    model = {"library": "smp", "name": "Unet", "encoder": "tu-swin_tiny_patch4_window7_224"}
    workspace = make_workspace(tmp_path / "workspace", train=3, val=1, size=224, model=model)
    values = yaml.safe_load((workspace / "params.yaml").read_text())
    values["predict"] |= {"window": 224, "overlap": 64}
    (workspace / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(BadData, match="cannot answer for a chip or window of 64 x 160 px"):
        train(workspace, load_params(workspace / "params.yaml"))


def test_batches_of_several_chips_have_no_rest_of_one():
    sizes = [[len(draw.rows) for draw in BatchOrder(np.arange(chips), 2, None)] for chips in (1, 2, 3, 5)]
    assert sizes == [[1], [2], [3], [3, 2]]


def test_classes_may_be_called_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tracked("anything", None) as run:
        log_epoch(1, {"val_iou_trees & shrubs": 0.5, "val_iou_trees + shrubs": 0.25, "val_iou_../crops/é": 0.75})
    found = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db").get_run(run).data.metrics
    assert sorted(found.values()) == [0.25, 0.5, 0.75] and "val_iou_trees _ shrubs" in found


def test_a_split_without_labels_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    workspace = make_workspace(tmp_path / "workspace", train=2, val=0)
    with pytest.raises(BadData, match="val chips"):
        train(workspace, load_params(workspace / "params.yaml"))


def test_one_training_at_a_time_and_a_failed_one_leaves_its_work(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    with attempt("same"), pytest.raises(SwathError, match="Another process"), attempt("same"):
        pass
    with pytest.raises(RuntimeError), attempt("same") as work:
        work.note_run("r1")
        raise RuntimeError("power cut")
    with attempt("same") as work:
        assert work.run == "r1"
    with attempt("same") as work:
        assert work.run is None


def test_an_unreadable_model_is_refused(tmp_path):
    with pytest.raises(BadData, match="run the train stage"):
        load_trained(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("freeze", "stays"), [(2, True), (1, False)])
def test_a_frozen_encoder_stays_as_its_weights_are_while_the_rest_learns(tmp_path, monkeypatch, freeze, stays):
    given = build(Model(library="smp", name="Unet", encoder="resnet18"), len(BANDS), len(CLASSES)).encoder
    torch.save(given.state_dict(), tmp_path / "encoder.pth")
    model = {"library": "smp", "name": "Unet", "encoder": "resnet18", "weights": str(tmp_path / "encoder.pth")}
    workspace = make_workspace(tmp_path / "workspace", epochs=2, freeze=freeze, encoder_lr=0.1, ema=0, model=model)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train(workspace, load_params(workspace / "params.yaml"))
    trained = load_trained(workspace / "data" / "train")[0].network
    assert isinstance(trained.encoder, torch.nn.Module)
    found, began = trained.encoder.state_dict(), given.state_dict()
    # a training that ends frozen has the very weights and running statistics that it was given
    assert all(torch.equal(found[name], began[name]) for name in began) is stays
    torch.manual_seed(load_params(workspace / "params.yaml").train.seed)  # the very head that the training began with
    fresh = build(Model(library="smp", name="Unet", encoder="resnet18"), len(BANDS), len(CLASSES))
    assert not torch.equal(trained.segmentation_head[0].weight, fresh.segmentation_head[0].weight)


def test_the_encoder_learns_at_its_share_of_the_rate_and_everything_learns(done):
    params = load_params(done.workspace / "params.yaml")
    settings = params.train.model_copy(update={"encoder_lr": 0.1})
    statistics = Statistics.model_validate(read_json(done.workspace / "data" / "statistics.json"))
    network = build(Model(library="smp", name="Unet", encoder="resnet18", detail=8), len(BANDS), 2)
    task = TrainingTask(Normalized(network, statistics), CombinedLoss({"cross_entropy": 1.0}), settings, ("a", "b"))
    task._trainer = SimpleNamespace(estimated_stepping_batches=10)
    new, old = task.configure_optimizers()["optimizer"].param_groups
    assert old["max_lr"] == pytest.approx(0.1 * new["max_lr"]) == pytest.approx(0.1 * settings.lr)
    own = encoder(network)
    assert {id(p) for p in old["params"]} == {id(p) for p in own.values()}
    assert len(old["params"]) + len(new["params"]) == len(list(network.parameters()))
    assert all(".encoder." in f".{name}" for name in own)


def test_the_encoder_of_a_classifier_is_all_but_its_last_layer():
    whole = build(Model(library="timm", name="resnet10t"), 3, 2)
    left = {name for name, _ in whole.named_parameters()} - set(encoder(whole))
    assert left == {"classifier.fc.weight", "classifier.fc.bias"}


def test_a_training_goes_on_from_none_with_other_settings_or_data(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "workspace")
    params = load_params(workspace / "params.yaml")

    class Begun(Exception):
        pass

    def begun(values):
        def attempt(name):
            raise Begun(name)

        monkeypatch.setattr("pipelines.training.train.attempt", attempt)
        with pytest.raises(Begun) as told:
            train(workspace, values)
        return str(told.value)

    first = begun(params)
    assert begun(params) == first
    assert begun(params.model_copy(update={"train": params.train.model_copy(update={"lr": 0.5})})) != first
    statistics = workspace / "data" / "statistics.json"
    write_json(statistics, read_json(statistics) | {"chips": 3})
    assert begun(params) != first


def test_a_training_keeps_its_memory_from_step_to_step(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = make_workspace(tmp_path / "workspace")
    happened = []

    @contextmanager
    def kept():
        happened.append("kept")
        yield
        happened.append("given back")

    monkeypatch.setattr("pipelines.training.train.freed_kept", kept)
    monkeypatch.setattr("lightning.Trainer.fit", lambda *_, **__: happened.append("steps"))
    with pytest.raises(BadData, match="never finite"):
        train(workspace, load_params(workspace / "params.yaml"))
    assert happened == ["kept", "steps", "given back"]


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_training_may_be_as_short_as_it_likes(steps):
    settings = load_params().train.model_copy(update={"model": Model(library="torchgeo", name="FCN")})
    statistics = Statistics(bands=(), class_pixels={}, chips=1)
    course = optimizers(Normalized(torch.nn.Conv2d(1, 1, 1), statistics), settings, steps)
    for _ in range(steps):
        course["optimizer"].step()
        course["lr_scheduler"]["scheduler"].step()
    rates = [group["lr"] for group in course["optimizer"].param_groups]
    assert all(0 < rate <= settings.lr for rate in rates)
