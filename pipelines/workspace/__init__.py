"""A folder of its own for each run: one commit checked out, the shared DVC cache, nobody's working copy.

In: a revision of the watched repository. Out: stages reproduced by DVC, pushed to its remote, and one commit of
``dvc.lock`` on the pipeline's own branch.
"""
