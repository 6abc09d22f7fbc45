"""What a pt2 archive may hold, so that loading it computes sizes and does nothing else.

torch unpickles example inputs, opaque constants and whatever a config says is pickled, reads the sizes of a graph with
sympy, which evaluates them as Python, and looks for what a node names anywhere in ``torch``.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NUMBERS = re.compile(r"(weight|tensor)_\d+")
_MEMBER = re.compile(
    r"[^/]+/(data/(weights|constants)/((weight|tensor)_\d+|[^/]+_config\.json)|models/[^/]+\.json"
    r"|archive_format|archive_version|byteorder|\.data/version|\.data/serialization_id)"
)
_EMPTY = re.compile(r"[^/]+/data/sample_inputs/[^/]+\.pt")  # where export would leave pickled example inputs
# Operators compute, but for those that open files: a graph could write what it likes over any of ours.
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|torchvision)\.(?!from_file|save|load)\w+(\.\w+)?|torch\.sym_\w+|(_operator|math)\.\w+"
)
_SIZE = re.compile(r"([A-Z]\w*+\(?|'[a-z]++\d++'|[a-z]++=(True|False)|-?\d++(\.\d++)?|[ ,)])*+")


def strange(path: Path) -> list[str]:
    """Names of what in the archive is more than numbers, operators and sizes; empty if it may be loaded.

    Raises ``ValueError`` or ``zipfile.BadZipFile`` where it is no such archive.
    """
    found = []
    with zipfile.ZipFile(path) as archive:
        names = [member.filename for member in archive.infolist()]
        folded = [name.casefold() for name in names]  # torch's reader finds members whatever their case
        found += sorted({name for name in names if folded.count(name.casefold()) > 1})
        for member in archive.infolist():
            name = member.filename
            if not (_MEMBER.fullmatch(name) or (_EMPTY.fullmatch(name) and member.file_size == 0)):
                found.append(name)
            elif name.endswith("_config.json"):
                payloads = json.loads(archive.read(name))["config"].values()
                if not all(_NUMBERS.fullmatch(one["path_name"]) and one["use_pickle"] is False for one in payloads):
                    found.append(name)
            elif name.endswith(".json"):
                found += sorted({value for value in _said(json.loads(archive.read(name))) if value})
    return found


def _said(value: Any) -> Iterator[str]:
    """The operators and sizes in a graph that are none."""
    if isinstance(value, list):
        for one in value:
            yield from _said(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "expr_str" and not (isinstance(one, str) and _SIZE.fullmatch(one)):
                yield str(one)[:100]
            elif key == "target" and isinstance(one, str) and "inputs" in value and not _OPERATOR.fullmatch(one):
                yield one[:100]
            else:
                yield from _said(one)
