"""Broken and hostile input of more than sixty kinds, each through the code that the DAGs run.

``scenes``, ``items``, ``links``, ``labels``, ``parameters``, ``bundles`` hold the kinds: a small function each, which
writes the input and says what is to come of it.
"""
