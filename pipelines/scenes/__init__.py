"""Scenes: found in a source, fetched over the area asked for, radiometry settled, kept in a local STAC catalog.

In: a STAC API, a static STAC catalog, or a folder or S3 prefix of GeoTIFFs. Out: one COG of pixels and one COG of
mask bits a scene, under a STAC item that states bands, units, scale, offset, resolution, nodata and checksums.
"""
