"""What a command hands to whoever started it: one small JSON object."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipelines.files import write_json

RESULT_FILE = "SWATH_RESULT"


def emit(value: dict[str, Any]) -> None:
    """Print ``value`` as JSON on standard output, and write it to the file that ``SWATH_RESULT`` names."""
    print(json.dumps(value, sort_keys=True))
    if target := os.environ.get(RESULT_FILE):
        write_json(Path(target), value)
