"""The built-in sample region: land made by code, so it needs no network and its truth is known.

In: a size, a number of scenes, a seed and, on demand, a drift of chosen kind and strength. Out: a folder with a static
STAC catalog of Sentinel-2-like scenes (one COG a band, and a scene classification) and one vector file of labels.
It serves demonstration, test oracles and scale; it is never evidence that anything works on real imagery.
"""
