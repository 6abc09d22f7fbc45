"""The gate in front of training: no clean certificate and no passed checks, no model."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import BadData
from pipelines.files import read_json


def require_certified(data: Path) -> None:
    """Raise ``BadData`` unless the split's certificate is clean and the checks of the chips passed."""
    certificate = _read(data / "certificate.json", "split")
    if certificate.get("clean") is not True:
        raise BadData(
            f"{data / 'certificate.json'} is not clean, so val and test would not judge the model: "
            f"{_sentences(certificate)} Repair the split, and run the stages from split on again."
        )
    checks = _read(data / "validation" / "result.json", "validate")
    if checks.get("success") is not True:
        raise BadData(f"The checks of data/chips failed: {_sentences(checks)} Repair the data, and run validate again.")


def _read(path: Path, stage: str) -> dict[str, object]:
    if not path.is_file():
        raise BadData(
            f"{path} does not exist, and nothing is trained on data that is not certified; run {stage} first."
        )
    content = read_json(path)
    return content if isinstance(content, dict) else {}


def _sentences(report: dict[str, object]) -> str:
    findings = report.get("findings")
    return " ".join(map(str, findings)) if isinstance(findings, list) else "it names no finding."
