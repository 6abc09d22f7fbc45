"""Names and sizes of the project that a world is."""

PROJECT = "scale"
VERSION = 1  # of the model whose maps there are
DIGEST = "0" * 64  # of its bundle
BANDS = ("B02", "B08")
CLASSES = ("water", "forest", "bare")
SIDE, PIXEL = 128, 10.0  # of a scene
