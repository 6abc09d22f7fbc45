"""Labels on a scene's exact grid, and how far they lie off the image.

In: a vector file, a folder of rasters or a table of boxes that people made, and a scene. Out: class indices
``(height, width)`` uint8, 255 where unlabelled, boxes of objects, and the measured shift between labels and image.
"""

from pipelines.labels.source import LabelSource, burn, open_labels

__all__ = ["LabelSource", "burn", "open_labels"]
