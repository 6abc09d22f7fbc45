"""The gate in front of training: no clean certificate and no passed checks, no model."""

from __future__ import annotations

from pathlib import Path

from pipelines.dataset.certificate import require_clean
from pipelines.errors import BadData
from pipelines.files import read_json


def require_certified(data: Path) -> None:
    """Raise ``BadData`` unless the split's certificate is clean and the checks of the chips passed."""
    require_clean(data / "certificate.json")
    result = data / "validation" / "result.json"
    if not result.is_file():
        raise BadData(
            f"{result} does not exist, and nothing is trained on unchecked chips; run `swath validate` first."
        )
    checks = read_json(result)
    if checks["success"] is not True:
        findings = "\n  ".join(checks["findings"])
        raise BadData(f"The checks of data/chips failed, so nothing is trained on them:\n  {findings}")
