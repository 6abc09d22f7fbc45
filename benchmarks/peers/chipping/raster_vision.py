"""Raster Vision's chip stage: npy images and PNG labels in a zip file."""

from __future__ import annotations

from rastervision.core.data import (
    ClassConfig,
    DatasetConfig,
    RasterioSourceConfig,
    SceneConfig,
    SemanticSegmentationLabelSourceConfig,
)
from rastervision.core.rv_pipeline import (
    SemanticSegmentationChipOptions,
    SemanticSegmentationConfig,
    WindowSamplingConfig,
)
from rastervision.pytorch_backend import PyTorchSemanticSegmentationConfig
from rastervision.pytorch_learner import (
    Backbone,
    SemanticSegmentationImageDataConfig,
    SemanticSegmentationModelConfig,
    SolverConfig,
)

from benchmarks.peers import CLASSES, IMAGE, LABELS
from benchmarks.peers.contender import WINDOW, given, timed


def main() -> None:
    folder, out, _ = given()
    scene = SceneConfig(
        id="scene",
        raster_source=RasterioSourceConfig(uris=[str(folder / IMAGE)], channel_order=[0, 1, 2, 3]),
        label_source=SemanticSegmentationLabelSourceConfig(
            raster_source=RasterioSourceConfig(uris=[str(folder / LABELS)])
        ),
    )
    names = ["none", *CLASSES]
    pipeline = SemanticSegmentationConfig(
        root_uri=str(out),
        dataset=DatasetConfig(
            class_config=ClassConfig(names=names, null_class="none"), train_scenes=[scene], validation_scenes=[]
        ),
        backend=PyTorchSemanticSegmentationConfig(  # of which chipping needs the data alone
            data=SemanticSegmentationImageDataConfig(num_workers=0),
            model=SemanticSegmentationModelConfig(backbone=Backbone.resnet50, pretrained=False),
            solver=SolverConfig(batch_sz=8),
        ),
        chip_options=SemanticSegmentationChipOptions(
            sampling=WindowSamplingConfig(size=WINDOW, stride=WINDOW, padding=0)
        ),
    )
    pipeline.update()
    with timed():
        pipeline.build(str(out)).chip()


if __name__ == "__main__":
    main()
