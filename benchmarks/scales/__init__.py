"""What ``benchmarks.scaling`` measures, a noun a file: catalogs of many scenes, indexes of many chips, tall rasters."""
