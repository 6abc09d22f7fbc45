"""Python and the packages, against what the lock says."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pipelines.doctor.finding import Finding, fault, fine, skipped, warning

_SHOWN = 8


def python(asked: str | None = None, found: str = ".".join(map(str, sys.version_info[:3]))) -> list[Finding]:
    """``asked`` is a specifier such as ``>=3.11,<3.13``; left out, that of the installed package."""
    asked = asked or metadata("swath")["Requires-Python"]
    if found in SpecifierSet(asked):
        return [fine("Python", found)]
    return [
        fault("Python", f"{found} is not {asked}.", "Make the environment anew: rm -r var/venv; make up PYTHON=...")
    ]


def packages(lock: Path) -> list[Finding]:
    """Installed versions against ``requirements.lock``; its markers say which of its lines hold for this machine."""
    if not lock.is_file():
        return [skipped("Packages", f"There is no {lock} to compare with.")]
    lines = [line.strip() for line in lock.read_text(encoding="utf-8").splitlines()]
    asked = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    other, absent = [], []
    for one in asked:
        if one.marker and not one.marker.evaluate():
            continue
        try:
            found = version(one.name)
        except PackageNotFoundError:
            absent.append(one.name)
            continue
        if not one.specifier.contains(found, prereleases=True):
            other.append(f"{one.name} {found} instead of {str(one.specifier).removeprefix('==')}")
    remedy = f"uv pip install --python {sys.executable} -r {lock}"
    findings = []
    if other:
        findings.append(fault("Packages", f"Not as locked: {_some(other)}.", remedy))
    if absent:
        findings.append(warning("Packages", f"Locked and not installed: {_some(absent)}.", remedy))
    return findings or [fine("Packages", f"{len(asked)} are as {lock.name} says")]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
