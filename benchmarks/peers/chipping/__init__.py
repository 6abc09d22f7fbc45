"""A scene and its raster of labels to chips of 256 px, all kept, in whatever files a contender makes of them."""
