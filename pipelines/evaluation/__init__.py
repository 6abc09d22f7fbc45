"""How good a model is on ground that it never saw, and how sure one can be of that.

In: a trained model, the scenes of the manifest, the labels, and the plan that gives ground to val and test. Out:
``data/metrics.json`` and ``data/evaluation/``: scores of stitched scenes and of chips with block-bootstrap
intervals, the calibration temperature, a per-pixel baseline, confusion counts of each block, curves and plots. Of a
detector the confusion counts objects, and average precision takes the place of curves.
"""
