"""From fresh namespaces to a service's program: its root folder, mounts, host name and user.

Run by ``container.py`` as ``python -I inside.py SPEC``, as root in namespaces of its own; becomes the command.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def main(spec: dict[str, Any]) -> None:
    """Never returns. ``spec`` is what ``Container.start`` writes."""
    folder, layers = Path(spec["folder"]), ":".join([*spec["layers"], "/"])
    root = folder / "root"
    layered = f"lowerdir={layers},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    _mount("-t", "overlay", "overlay", "-o", layered, root)
    _mount("-t", "proc", "proc", root / "proc")
    for own in ("/dev", "/sys"):
        _mount("--rbind", own, root / own[1:])
    _mount("-t", "tmpfs", "-o", f"mode=1777,size={spec['shared_memory']}", "shm", root / "dev" / "shm")
    for hidden in spec["hidden"]:
        _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", _place(root, hidden, is_folder=True))
    for source, target, read_only in spec["mounts"]:
        place = _place(root, target, is_folder=Path(source).is_dir())
        _mount("--bind", source, place)
        if read_only:
            _mount("-o", "remount,bind,ro", place)
    (root / "etc" / "hosts").write_text(spec["hosts"], encoding="utf-8")
    socket.sethostname(spec["hostname"])
    os.umask(0o022)
    os.chroot(root)
    os.chdir(spec["workdir"])
    os.execvp(spec["argv"][0], spec["argv"])


def _place(root: Path, target: str, *, is_folder: bool) -> Path:
    """Where ``target`` is to be mounted; made where it is missing, and within reach of every user."""
    place = root / target.lstrip("/")
    (place if is_folder else place.parent).mkdir(parents=True, exist_ok=True)
    if not is_folder:
        place.touch()
    for above in place.relative_to(root).parents:
        if not (root / above).stat().st_mode & 0o001:
            (root / above).chmod((root / above).stat().st_mode | 0o111)
    return place


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
