"""Which scenes and labels a dataset is made of, pinned by checksum."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.labels.shift import Shift
from pipelines.scenes.scene import Scene


class LabelFile(BaseModel):
    """A file below ``data/labels``."""

    model_config = ConfigDict(frozen=True)

    path: str  # relative to data/labels
    sha256: str
    size: int  # bytes


class Exclusion(BaseModel):
    """A scene that has labels and is not in the dataset."""

    model_config = ConfigDict(frozen=True)

    scene: str
    reason: str


class Manifest(BaseModel):
    """``data/manifest.json``. Scenes are sorted by id; their ``source`` is blank, so no machine's paths are in it."""

    model_config = ConfigDict(frozen=True)

    project: str
    bands: tuple[str, ...]
    dtype: str
    scenes: tuple[Scene, ...]
    labels: tuple[LabelFile, ...]
    excluded: tuple[Exclusion, ...] = ()
    shifts: dict[str, Shift] = {}  # scene id: measured shift between its labels and its image
    findings: tuple[str, ...] = ()  # sentences, for people

    def scene(self, id: str) -> Scene:
        for scene in self.scenes:
            if scene.id == id:
                return scene
        raise BadData(f"The manifest has no scene {id!r}; run `swath snapshot` and the stages after it again.")


def read_manifest(path: Path) -> Manifest:
    if not Path(path).exists():
        raise BadData(f"{path} does not exist; run `swath snapshot` first.")
    return Manifest.model_validate(read_json(path))
