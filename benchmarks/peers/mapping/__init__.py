"""A scene to ``map.tif``, a map of classes, by the same network. Windows have 256 px and no overlap, but in ours."""

NETWORK = "network.pt"  # weights of `network.py`
BUNDLE = "bundle"  # of ours, around the same network
