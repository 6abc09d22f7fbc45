"""What the benchmarks share: contenders that do the same work, each in a process and, if need be, an environment of
its own, and the race that times them side by side.

The folder that contenders work on holds the files named here, as `scene.py` makes them. This file, `contender.py` and
those of `chipping/` and `mapping/` that stand for a peer run in that peer's interpreter, which has nothing of ours.
"""

IMAGE = "catalog/scenes/scene/image.tif"  # 4 bands of uint16, a COG with tiles of 512 px, DEFLATE
LABELS = "labels/scene.tif"
SCENE = "scene.json"  # the image as our catalog describes it
BANDS = ("B02", "B03", "B04", "B08")
CLASSES = ("water", "forest", "bare")  # 1, 2 and 3 of the labels
