"""Windows of chips."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Crop(NamedTuple):
    """A square window in each of ``n`` chips."""

    corners: NDArray[np.int64]  # (n, 2): its first row and column, in pixels of the chip
    side: int  # pixels
