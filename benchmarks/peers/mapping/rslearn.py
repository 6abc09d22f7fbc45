"""rslearn: a dataset of one window, its trainer's prediction in crops, and its writer, which joins them in a GeoTIFF.

Bringing the scene into its dataset is not counted: ours finds the scene in a catalog too.
"""

from __future__ import annotations

import lightning
import torch
from rslearn.models.component import FeatureExtractor, FeatureMaps
from rslearn.models.singletask import SingleTaskModel
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.dataset import DataInput, SplitConfig
from rslearn.train.lightning_module import RslearnLightningModule
from rslearn.train.model_context import ModelContext
from rslearn.train.prediction_writer import RslearnWriter
from rslearn.train.tasks.segmentation import SegmentationHead, SegmentationTask
from torch import nn

from benchmarks.peers import IMAGE
from benchmarks.peers.contender import BATCH, WINDOW, given, timed
from benchmarks.peers.mapping.network import CLASSES, load
from benchmarks.peers.rslearn_dataset import BANDS, add_windows, materialize, raster_layer


class Logits(FeatureExtractor):
    """The network as rslearn wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, context: ModelContext) -> FeatureMaps:
        return FeatureMaps(
            [self.network(torch.stack([one["image"].single_ts_to_chw_tensor() for one in context.inputs]))]
        )


def main() -> None:
    folder, out, _ = given()
    root, image = out / "dataset", folder / IMAGE
    (out / "images").mkdir()
    (out / "images" / "scene.tif").symlink_to(image)  # its reader would take the mask beside it for an image
    layers = {"image": raster_layer("uint16", BANDS, out / "images"), "map": raster_layer("uint8", ["class"])}
    materialize(add_windows(root, layers, image, None))
    task = SegmentationTask(CLASSES)
    model = SingleTaskModel([Logits(load(folder))], [SegmentationHead()])
    with timed():
        data = RslearnDataModule(
            {"image": DataInput("raster", ["image"], bands=BANDS, passthrough=True)},
            task,
            str(root),
            batch_size=BATCH,
            predict_config=SplitConfig(crop_size=WINDOW, load_all_crops=True, skip_targets=True),
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            callbacks=[RslearnWriter("map", str(root))],
        )
        trainer.predict(RslearnLightningModule(model, task), datamodule=data, return_predictions=False)
    next(root.glob("windows/*/*/layers/map/**/*.tif")).rename(out / "map.tif")


if __name__ == "__main__":
    main()
