"""Which commit and which data a folder of work stands on.

In: a workspace or checkout with ``dvc.lock``. Out: the hashes that models and maps are tagged with.
"""
