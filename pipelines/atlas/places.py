"""Names that come with a request, turned into paths that lie where they should."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.config import settings
from pipelines.depot import objects
from pipelines.errors import BadData
from pipelines.scenes.candidate import safe_id

_NAME = 255  # bytes that a file's name may have


def projects() -> list[str]:
    """Names of all projects that have scenes, maps or reports here."""
    here = settings()
    found = (p for root in (here.catalog, here.predictions, here.reports) if root.is_dir() for p in root.iterdir())
    return sorted({path.name for path in found if path.is_dir() and _is_name(path.name)})


def project_in(root: Path, project: str) -> Path:
    """The folder of ``project`` below ``root``. Raises ``BadData`` if the name cannot be one."""
    return below(root, safe_id(project))


def _is_name(name: str) -> bool:
    try:
        return safe_id(name) == name
    except BadData:  # such as lost+found on a mounted disk
        return False


def below(root: Path, path: str) -> Path:
    """``path`` below ``root``, links followed. Raises ``BadData`` if it leads out of it, but for links of the depot."""
    top = root.resolve()
    try:
        target = (top / path).resolve()
        link = (top / path).is_symlink() and (top / path).parent.resolve().is_relative_to(top)
        inside = target.is_relative_to(top) or (link and target.is_relative_to(objects()))
        if inside and max(map(len, os.fsencode(path).split(b"/"))) <= _NAME:
            return target
    except ValueError:  # NUL, or half a surrogate pair
        pass
    raise BadData(f"{path[:200]!r} lies outside of what can be shown here.")
