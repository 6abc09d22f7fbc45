"""Which commit and which data a folder of work stands on.

In: a workspace or checkout with ``dvc.lock``, and the environment. Out: the hashes, code and run that models and maps
are tagged with.
"""
