"""Environments of peers, from PyPI, each below ``SWATH_HOME/cache/peers``; ours is never touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipelines.config import settings
from pipelines.files import write_text

_READY = "ready.txt"  # what was installed; there only if all of it was

# Of ours, so that what differs is what the peers do with it.
_TORCH = tuple(
    f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "torchvision", "segmentation-models-pytorch")
)


class Unavailable(Exception):
    """A peer that cannot run here, with the reason."""


@dataclass(frozen=True)
class Environment:
    """Packages in a virtual environment of their own."""

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return settings().home / "cache" / "peers" / self.name

    def python(self, install: bool) -> Path:
        """Its interpreter; made where it is missing and ``install`` says so. Raises ``Unavailable`` otherwise."""
        found, wanted = self.folder / _READY, "\n".join(self.packages)
        interpreter = self.folder / "bin" / "python"
        if found.exists() and found.read_text() == wanted:
            return interpreter
        if not install:
            raise Unavailable(f"{self.folder} is not made yet; --install makes it from PyPI")
        print(f"making {self.folder} of {', '.join(self.packages)}", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
        for step in (
            ("venv", "--quiet", "--python", sys.executable, str(self.folder)),
            ("pip", "install", "--quiet", "--python", str(interpreter), *self.packages),
        ):
            done = subprocess.run([_uv(), *step], capture_output=True, text=True)
            if done.returncode:
                raise Unavailable(f"its environment cannot be made: {last_line(done.stderr)}")
        write_text(found, wanted)
        return interpreter


def _uv() -> str:
    own = Path(sys.prefix) / "bin" / "uv"
    return str(own) if own.exists() else "uv"


def last_line(text: str) -> str:
    """Where a failed process says why."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it failed without a word")


RASTER_VISION = Environment("raster-vision", ("rastervision_pytorch_backend==0.31.1", *_TORCH))
RSLEARN = Environment(  # it imports einops and wandb, and leaves asking for them to its extras
    "rslearn", ("rslearn==0.1.19", "einops>=0.8", "wandb>=0.16", *_TORCH)
)
