"""The train stage: from a workspace's certified chips to ``data/train`` and ``data/history.csv``."""

from __future__ import annotations

import copy
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader

from pipelines.config.params import Model, Params
from pipelines.dataset.boxes import BOXES, BoxStore
from pipelines.dataset.shards import INDEX, ChipStore
from pipelines.dataset.snapshot import read_manifest
from pipelines.dataset.statistics import Statistics, read_statistics
from pipelines.errors import BadData
from pipelines.files import replacing, sha256, write_json
from pipelines.lineage.revision import revision
from pipelines.training import detection, tracking
from pipelines.training.attempt import Attempt, attempt, key
from pipelines.training.averaging import moving_average
from pipelines.training.batches import BatchOrder, loader, train_loader
from pipelines.training.certified import require_certified
from pipelines.training.checkpoint import ModelSpec, Normalized, save_trained
from pipelines.training.freezing import Freezing
from pipelines.training.hard import HardChips
from pipelines.training.history import History
from pipelines.training.losses import CombinedLoss, class_weights
from pipelines.training.memory import freed_kept
from pipelines.training.network import build
from pipelines.training.object_plots import objects_figure
from pipelines.training.plots import confusion_figure, curves_figure, review, samples_figure
from pipelines.training.pretrained import load_pretrained
from pipelines.training.task import TrainingTask

_CODE = Path(__file__).parent
_READERS = ("boxes", "crop", "scene_pixels", "shards", "statistics")  # how chips become what the network is shown


def train(workspace: Path, params: Params) -> dict[str, Any]:
    """Train on ``workspace``'s chips, write its ``data/train`` and ``data/history.csv``, and return the key figures.

    A killed training goes on at the last whole epoch when it is started again with the same chips, parameters and
    code, in the same MLflow run; on a CPU it then gives the same weights, bit for bit. Raises ``BadData`` when the
    chips are not certified, or do not fit the parameters, ``SwathError`` when MLflow does not answer.
    """
    data = Path(workspace) / "data"
    require_certified(data)
    store, statistics = ChipStore(data / "chips"), read_statistics(data / "statistics.json")
    _require_labels(store, params)
    settings: dict[str, Any] = {
        "project": params.project,
        "task": params.task,
        "classes": [c.name for c in params.labels.classes],
        "chips.size": params.chips.size,
        "bands": list(store.bands),
        "train": params.train.model_dump(mode="json"),
    }
    if (weights := params.train.model.weights) and Path(weights).is_file():
        settings["weights_sha256"] = sha256(Path(weights))
    inputs = (
        data / "chips" / INDEX,
        *(data / "chips").glob(BOXES),
        data / "statistics.json",
        *sorted(_CODE.glob("*.py")),
        *(_CODE.parent / "dataset" / f"{name}.py" for name in _READERS),
    )
    made_from = revision(workspace)
    with attempt(key(settings, made_from.dataset, *inputs)) as work, tracking.tracked(params.project, work.run) as run:
        work.note_run(run)
        tracking.log_start(params.project, params.task, settings, made_from, sha256(data / "chips" / INDEX))
        trained = _network(params, statistics)
        _require_fit(trained, params, len(store.rows("train")))
        history = _fit(trained, store, statistics, params, work)
        trained.load_state_dict(history.best)
        _log_plots(trained, store, statistics, params)
        spec = ModelSpec(
            task=params.task,
            model=_model(params),
            statistics=statistics,
            classes=params.labels.classes,
            chip_size=params.chips.size,
            resolution=_resolution(data, store),
            seed=params.train.seed,
        )
        with replacing(data / "train") as draft:
            draft.mkdir()
            save_trained(draft, trained, spec)
            write_json(draft / "run.json", {"run_id": run, "experiment": params.project})
        with replacing(data / "history.csv") as draft:
            history.table().to_csv(draft, index=False, float_format="%.6g")
    best = next(row for row in history.rows if row["epoch"] == history.best_epoch)
    figures = {name: round(best[name], 4) for name in ("val_loss", history.score)}
    return {"run_id": run, "epochs": len(history.rows), "best_epoch": history.best_epoch} | figures


def _model(params: Params) -> Model:
    return params.train.model.for_chips(params.train.crop or params.chips.size)


def _network(params: Params, statistics: Statistics) -> Normalized:
    torch.manual_seed(params.train.seed)
    network = build(_model(params), len(statistics.bands), len(params.labels.classes))
    if params.train.model.weights:
        bands = [band.name for band in statistics.bands]
        load_pretrained(network, params.train.model.weights, bands, params.train.model.weights_bands)
    trained = Normalized(network, statistics)
    return trained.to(memory_format=torch.channels_last)


def _require_fit(trained: Normalized, params: Params, chips: int) -> None:
    """Raise ``BadData`` unless the network takes the least batch of train chips, chips and windows one by one, and
    windows that are not square, as small and narrow rasters have them and as the bundle's graphs are tested with.
    """
    model, train = params.train.model, params.train
    batches = BatchOrder(np.arange(chips), train.batch, None)
    bands = len(trained.mean.flatten())
    chip, window, crop = params.chips.size, params.predict.window, train.crop or params.chips.size
    asked = [(False, 1, chip, chip), (False, 1, window, window), (False, 1, 64, 160)]
    if params.task != "detection":  # which trains on objects too
        asked.append((True, min(len(draw.rows) for draw in batches), crop, crop))
    for training, count, height, width in asked:
        probe = copy.deepcopy(trained).train(training)
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                probe(torch.zeros(count, bands, height, width))
        except (RuntimeError, ValueError, AssertionError) as error:
            doing = f"be trained on {count} chip(s)" if training else "answer for a chip or window"
            raise BadData(
                f"train.model {model.name} (encoder {model.encoder}) cannot {doing} of {height} x {width} px: "
                f"{error} Choose another network, or other chips.size, train.crop, train.batch or predict.window."
            ) from error


def _fit(trained: Normalized, store: ChipStore, statistics: Statistics, params: Params, work: Attempt) -> History:
    settings = params.train
    hard = HardChips(settings.hard, len(store)) if settings.hard else None
    course = _course(trained, store, statistics, params, hard)
    stopping = EarlyStopping("val_loss", patience=settings.patience, check_finite=True)
    history = History(stopping, course.score, course.called)
    keep = ModelCheckpoint(
        work.folder, work.checkpoint.stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    freezing = [Freezing(settings.freeze)] if settings.freeze and settings.model.weights else []
    averaging = [moving_average(settings.ema)] if settings.ema else []
    cuda = torch.cuda.is_available()
    _quiet()
    trainer = L.Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision=precision(settings.precision, cuda),
        max_epochs=settings.epochs,
        callbacks=[history, *freezing, *averaging, *([hard] if hard else []), stopping, keep],
        deterministic="warn" if cuda else False,  # on a CPU all that is used here is deterministic anyway
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with freed_kept():
        trainer.fit(
            course.task,
            course.train,
            course.val,
            ckpt_path=work.checkpoint if work.checkpoint.exists() else None,
            weights_only=True,
        )
    torch.use_deterministic_algorithms(False)  # it makes torchmetrics count in a table of pixels by thresholds
    if not history.best:
        raise BadData("The val loss was never finite; lower train.lr, or look for infinite values in the chips.")
    return history


@dataclass(frozen=True)
class _Course:
    """What is trained, on which batches, and the score that tells how it goes, with its name for people."""

    task: L.LightningModule
    train: DataLoader[Any]
    val: DataLoader[Any]
    score: str
    called: str


def _course(
    trained: Normalized, store: ChipStore, statistics: Statistics, params: Params, hard: HardChips | None
) -> _Course:
    settings = params.train
    if params.task == "detection":
        boxes = BoxStore(store.folder)
        return _Course(
            detection.DetectionTask(trained, settings),
            detection.train_loader(store, boxes, statistics, settings),
            detection.loader(store, boxes, statistics, "val", settings.batch),
            detection.AP50,
            "val AP50",
        )
    names = tuple(c.name for c in params.labels.classes)
    weights = class_weights([statistics.class_pixels[n] for n in names]) if settings.class_weights else None
    mixed = hard.mixed if hard else None
    return _Course(
        TrainingTask(trained, CombinedLoss(settings.loss, weights), settings, names),
        train_loader(store, statistics, settings.batch, settings.augment, settings.seed, mixed, settings.crop),
        loader(store, statistics, "val", settings.batch),
        "val_miou",
        "val mIoU",
    )


def precision(asked: str, cuda: bool) -> Any:
    if asked == "auto" and not cuda:
        able = torch.cpu.get_capabilities()
        return "bf16-mixed" if able.get("avx512_bf16") or able.get("amx_bf16") else "32-true"
    if asked == "auto":
        return "16-mixed"
    return "32-true" if asked == "32" else asked


def _log_plots(trained: Normalized, store: ChipStore, statistics: Statistics, params: Params) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classes = params.labels.classes
    if params.task == "detection":
        val = detection.loader(store, BoxStore(store.folder), statistics, "val", params.train.batch)
        tracking.log_figure("samples", objects_figure(trained, val, statistics, classes, device))
        return
    seen = review(trained, loader(store, statistics, "val", params.train.batch), len(classes), device)
    tracking.log_figure("confusion", confusion_figure(seen.confusion, classes))
    tracking.log_figure("precision_recall", curves_figure(seen, classes))
    tracking.log_figure("samples", samples_figure(seen, statistics, classes))


def _require_labels(store: ChipStore, params: Params) -> None:
    names = tuple(c.name for c in params.labels.classes)
    if store.classes != names:
        raise BadData(f"data/chips was cut for the classes {store.classes}, not {names}; run the chip stage again.")
    if params.task == "detection":
        boxes = BoxStore(store.folder)
        for split in ("train", "val"):
            if not len(boxes.sides(store.rows(split))):
                raise BadData(f"No object is in the {split} chips; change split.fractions or split.block.")
    columns = [f"pixels_{name}" for name in names]
    for split in ("train", "val"):
        if store.index.loc[store.rows(split), columns].to_numpy().sum() == 0:
            raise BadData(
                f"No labelled pixel is in the {split} chips; add labels, or change split.fractions or split.block."
            )


def _resolution(data: Path, store: ChipStore) -> tuple[float, float]:
    """Metres a pixel, smallest and largest of the scenes that train chips were cut from."""
    used = set(store.index.loc[store.rows("train"), "scene_id"])
    found = [scene.resolution for scene in read_manifest(data / "manifest.json").scenes if scene.id in used]
    return min(found), max(found)


def _quiet() -> None:
    """Leave out Lightning's tips: one process reads the batches on purpose, and this module logs by itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*deterministic.*", category=UserWarning)
