"""Training: from certified chips to a trained network.

In: ``data/chips``, ``data/statistics.json``, ``data/certificate.json`` and ``data/validation`` of a workspace.
Out: ``data/train`` (``weights.safetensors``, ``model.json``, ``run.json``), ``data/history.csv`` and one MLflow run.

``task.py`` holds what is particular to segmentation: the Lightning module with its loss and metrics. Another task of
the field is another such module and another network; batches, tracking and resuming know nothing of the task.
"""
