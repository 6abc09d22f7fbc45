"""From a map back to all that it came from, and the same map once more.

In: any file of a map. Out: its chain (model, decision, dataset, scenes, code, runs) and what of it cannot be reached;
or the map made again, and where it differs. Nothing that is looked at is changed.
"""
