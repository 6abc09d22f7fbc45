"""What images bring, said with what this machine has: the one place where docker-compose.yml is translated.

Our own image is its Dockerfile, line by line, except that the packages are those of the environment that runs this.
Of the others the programs are Debian's and PyPI's, of the versions these have.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.checkout import copy_tree
from tests.cluster.compose import Service

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=Path())
_INSTALLS = re.compile(r"\b(apt-get|pip)\b")


@dataclass(frozen=True)
class Image:
    """An image, less the files that this machine has. ``stop`` is the signal that ends its program."""

    layers: tuple[Path, ...] = ()  # above this machine's files, uppermost first
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    workdir: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    stop: signal.Signals = signal.SIGTERM


OTHERS = {
    "postgres": Image(
        environment={"PATH": f"{_POSTGRES}:{_PATH}", "PGDATA": "/var/lib/postgresql/data"},
        entrypoint=("docker-entrypoint.sh",),
        command=("postgres",),
        stop=signal.SIGINT,
    ),
    "redis": Image(environment={"PATH": _PATH}, workdir="/data"),
    "chrislusf/seaweedfs": Image(environment={"PATH": f"{Path(sys.prefix, 'bin')}:{_PATH}"}),
}


def image_of(service: Service, folder: Path) -> Image:
    """The image of ``service``, with its layer below ``folder``, which must be a file system of its own."""
    if service.build is not None:
        return _build(Path(service.build["context"]) / service.build["dockerfile"], folder / "swath")
    name = service.image.rsplit(":", 1)[0]
    files, layer = Path(__file__).parent / name, folder / name
    if not files.is_dir():
        return OTHERS[name]
    shutil.copytree(files, layer, dirs_exist_ok=True)
    return replace(OTHERS[name], layers=(layer,))


def _build(dockerfile: Path, layer: Path) -> Image:
    # The packages: those of this environment, compiled where they are, and our own code before that of the checkout.
    environment = {"PATH": f"{Path(sys.prefix, 'bin')}:{_PATH}", "PYTHONPATH": "/opt/swath"}
    # And what this machine knows of its processors, or the same sums would come out otherwise.
    told = ("PYTHONPYCACHEPREFIX", "OMP_", "OPENBLAS_", "MKL_")
    environment |= {name: value for name, value in os.environ.items() if name.startswith(told)}
    user, workdir, entrypoint, command, fresh = "root", "/", (), (), not layer.exists()
    for word, rest in _instructions(dockerfile):
        if word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "WORKDIR":
            workdir = rest
        elif word == "USER":
            user = rest
        elif word == "ENTRYPOINT":
            entrypoint = tuple(json.loads(rest))
        elif word == "CMD":
            command = tuple(json.loads(rest))
        elif word == "COPY" and rest == ". ." and fresh:
            ignored = (dockerfile.parents[1] / ".dockerignore").read_text(encoding="utf-8").splitlines()
            copy_tree(layer / workdir.lstrip("/"), *(line[1:] for line in ignored if line.startswith("!")))
        elif word == "RUN" and not _INSTALLS.search(rest) and fresh:
            _run(layer, f"cd {workdir}; {rest}")
        elif word not in ("FROM", "COPY", "RUN"):
            raise ValueError(f"{dockerfile} has the instruction {word}, which tests/cluster/images.py does not know.")
    return Image((layer,), environment, user, workdir, entrypoint, command)


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8")).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line and not line.startswith("#")]


def _run(layer: Path, shell: str) -> None:
    """Run a command as root on this machine's files, and keep in ``layer`` what it changes."""
    merged, work = layer.with_suffix(".merged"), layer.with_suffix(".work")
    for folder in (layer, merged, work):
        folder.mkdir(exist_ok=True)
    mount = f"mount -t overlay overlay -o lowerdir=/,upperdir={layer},workdir={work} {merged}"
    script = f"{mount}; mount --bind /dev {merged}/dev; exec chroot {merged} sh -ec {shlex.quote(shell)}"
    subprocess.run(["unshare", "--mount", "sh", "-ec", script], check=True)
    for folder in (merged, work):
        shutil.rmtree(folder)
