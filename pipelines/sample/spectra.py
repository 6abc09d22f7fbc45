"""Reflectances of what land is made of, in the six bands.

Set by hand to the levels and shapes that such materials have in the ECOSTRESS library (Meerdink et al., Remote Sensing
of Environment 230, 2019, doi:10.1016/j.rse.2019.05.015). Land is mixed from them linearly: Small and Sousa, "The
Sentinel 2 MSI spectral mixing space", Remote Sensing 14(22), 2022, find that mixtures of soil, vegetation and shade
span nearly all of what the instrument sees on land.
"""

from __future__ import annotations

import numpy as np

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
COMMON_NAMES = ("blue", "green", "red", "nir", "swir16", "swir22")
WAVELENGTHS = (0.4924, 0.5598, 0.6646, 0.8328, 1.6137, 2.2024)  # micrometres, Sentinel-2A

ENDMEMBERS = {
    "loam": (0.075, 0.105, 0.140, 0.220, 0.310, 0.260),
    "red_earth": (0.070, 0.110, 0.195, 0.300, 0.380, 0.320),
    "leaf": (0.025, 0.060, 0.025, 0.470, 0.190, 0.080),  # grass and crops
    "crown": (0.021, 0.046, 0.021, 0.410, 0.165, 0.067),  # trees, with the shade inside a crown
    "straw": (0.080, 0.125, 0.170, 0.290, 0.340, 0.240),  # dry grass, stubble
    "water": (0.035, 0.032, 0.020, 0.012, 0.006, 0.004),
    "turbid": (0.085, 0.115, 0.125, 0.065, 0.014, 0.009),
    "clay_tiles": (0.085, 0.125, 0.205, 0.290, 0.350, 0.310),
    "concrete": (0.125, 0.155, 0.185, 0.255, 0.300, 0.260),
    "asphalt": (0.080, 0.090, 0.100, 0.135, 0.165, 0.150),
    "shade": (0.010, 0.009, 0.007, 0.014, 0.009, 0.006),
}
NAMES = tuple(ENDMEMBERS)
TABLE = np.array(list(ENDMEMBERS.values()), np.float32)  # (endmembers, bands)
CLOUD = np.array((0.62, 0.62, 0.63, 0.66, 0.50, 0.38), np.float32)
HAZE = np.array((0.34, 0.30, 0.27, 0.24, 0.12, 0.08), np.float32)  # scattering, strongest in the blue
