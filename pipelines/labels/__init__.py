"""Labels on a scene's exact grid, and how far they lie off the image.

In: a vector file or folder of rasters that people drew, and a scene. Out: class indices ``(height, width)`` uint8,
255 where unlabelled, and the measured shift between labels and image.
"""

from pipelines.labels.source import LabelSource, burn, open_labels

__all__ = ["LabelSource", "burn", "open_labels"]
