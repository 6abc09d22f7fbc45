"""The folders of the installation: may they be written, and is there room?"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from pipelines.doctor.finding import Finding, fault, fine, warning

_GB = 10**9
_SPARE = 2 * _GB  # packages' caches, logs, databases and a bundle, beside the data
_COPIES = 3  # of the scenes' pixels as chips: a workspace, DVC's cache, its remote
_INODES = 10_000  # a workspace with its checkout and bytecode takes some 2,000


def writable(folders: Mapping[str, Path]) -> list[Finding]:
    """Each folder, or the nearest one above it, is written to, which also finds what is mounted read-only."""
    findings = []
    for name, folder in folders.items():
        there = existing(folder)
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            do = f"Give {there} to the user that runs Swath (uid {os.geteuid()}), or name another folder with {name}."
            findings.append(fault("Folders", f"{there} cannot be written ({error.strerror}), and {name} needs it.", do))
    return findings or [fine("Folders", f"{', '.join(folders)} can be written")]


def room(folders: Iterable[Path], need: int) -> list[Finding]:
    """Free bytes and inodes of each file system that the folders lie on, against ``need`` bytes of one run."""
    disks = {there.stat().st_dev: there for there in map(existing, folders)}
    findings = []
    for there in disks.values():
        free = shutil.disk_usage(there).free
        if free < need:
            do = f"Free {_size(need - free)} there; `swath maintain --days 7` removes what may go."
            findings.append(fault("Disk", f"{_size(free)} are free at {there}, and a run may take {_size(need)}.", do))
        inodes = os.statvfs(there)
        if inodes.f_files and inodes.f_favail < _INODES:  # some file systems count none
            do = "Remove small files there; `swath maintain --days 7` removes what may go."
            findings.append(fault("Disk", f"{there} has room for {inodes.f_favail} more files.", do))
    return findings or [fine("Disk", f"at least {_size(need)} free, which is what a run may take")]


def need_of_a_run(catalog: Path) -> int:
    """Bytes that a run may take: chips of all scenes that the catalog of a project has, wherever they are kept."""
    images = (path.stat().st_size for path in catalog.glob("scenes/*/image.tif"))
    return _SPARE + _COPIES * sum(images)


def memory(need: int) -> list[Finding]:
    """Memory of the machine against ``need``, the bytes that prediction may take."""
    have = psutil.virtual_memory()
    if have.total < need:
        do = "Lower predict.max_memory in params.yaml, or take a larger machine."
        return [fault("Memory", f"The machine has {_size(have.total)}, and a map may take {_size(need)}.", do)]
    if have.available < need:
        do = "End what takes it, or lower predict.max_memory in params.yaml."
        return [warning("Memory", f"{_size(have.available)} are free, and a map may take {_size(need)}.", do)]
    return [fine("Memory", f"{_size(have.available)} free, and a map may take {_size(need)}")]


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there and may be looked at."""
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - it never raises


def _size(count: int) -> str:
    return f"{count / _GB:.1f} GB" if count >= _GB // 10 else f"{count / 1e6:.1f} MB"
