"""Training: from certified chips to a trained network.

In: ``data/chips``, ``data/statistics.json``, ``data/certificate.json`` and ``data/validation`` of a workspace.
Out: ``data/train`` (``weights.safetensors``, ``model.json``, ``run.json``), ``data/history.csv`` and one MLflow run.

Segmentation and classification differ in the network alone: one that gives an image a single class is wrapped to give
it to each of its pixels (``network.py``), so batches, loss, metrics, stitching and the rest know nothing of the task.
Detection has batches, loss and scores of its own (``detection.py``).
"""
