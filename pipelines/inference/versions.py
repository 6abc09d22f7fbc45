"""Where the maps of each model version lie."""

from __future__ import annotations

import re
from pathlib import Path

_VERSION = re.compile(r"v([1-9]\d*)")


def version_folders(predictions: Path) -> list[tuple[int, Path]]:
    """Model versions and the folders of their maps, the oldest first; whatever else lies there is left out."""
    named = ((_VERSION.fullmatch(path.name), path) for path in predictions.glob("v*/"))
    return sorted((int(match[1]), path) for match, path in named if match)
