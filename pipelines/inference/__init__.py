"""Batch inference: rasters become maps.

In: a model bundle and rasters, scenes of the catalog or any GeoTIFF. Out: for each a classes COG, a confidence COG,
probabilities, entropy and polygons on request, the objects of a detector, and a STAC item that links the model, its
dataset and the source.
"""
