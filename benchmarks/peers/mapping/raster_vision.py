"""Raster Vision: its sliding windows over a scene, its learner's predictions, and its labels saved as a GeoTIFF."""

from __future__ import annotations

from rastervision.core.data import ClassConfig, SemanticSegmentationLabels
from rastervision.pytorch_learner import (
    SemanticSegmentationGeoDataConfig,
    SemanticSegmentationLearner,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationSlidingWindowGeoDataset,
    SolverConfig,
)

from benchmarks.peers import BANDS, IMAGE
from benchmarks.peers.contender import BATCH, WINDOW, given, timed
from benchmarks.peers.mapping.network import CLASSES, load


def main() -> None:
    folder, out, _ = given()
    names = [f"class {i}" for i in range(CLASSES)]
    classes = ClassConfig(names=names, null_class=names[0])  # which it asks for, though no pixel is left out
    config = SemanticSegmentationLearnerConfig(
        data=SemanticSegmentationGeoDataConfig(class_config=classes, num_workers=0),
        solver=SolverConfig(batch_sz=BATCH),
    )
    learner = SemanticSegmentationLearner(config, model=load(folder), training=False)
    with timed():
        scene = SemanticSegmentationSlidingWindowGeoDataset.from_uris(
            image_uri=str(folder / IMAGE),
            image_raster_source_kw={"channel_order": list(range(len(BANDS)))},
            size=WINDOW,
            stride=WINDOW,
            normalize=False,  # the network takes digital numbers
        )
        labels = SemanticSegmentationLabels.from_predictions(
            scene.windows,
            learner.predict_dataset(scene, raw_out=False, numpy_out=True, progress_bar=False),
            extent=scene.scene.extent,
            num_classes=CLASSES,
        )
        labels.save(str(out), scene.scene.raster_source.crs_transformer, classes)
    (out / "labels.tif").rename(out / "map.tif")


if __name__ == "__main__":
    main()
