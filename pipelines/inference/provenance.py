"""How a map was computed: with its model and its image, all that is needed to compute it again."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal, Self

import rasterio
from pydantic import BaseModel, ConfigDict

from pipelines.bundle.session import processor
from pipelines.lineage.code import Code, code
from pipelines.lineage.run import airflow_run

PROVENANCE = "swath:provenance"
SOFTWARE = "processing:software"  # of STAC's processing extension
_PACKAGES = ("numpy", "openvino", "rasterio", "shapely", "geopandas", "pyarrow", "pyogrio")


class Provenance(BaseModel):
    """What every map says of its making. A run is ``DAG/RUN`` of Airflow, ``None`` at a desk."""

    model_config = ConfigDict(frozen=True)

    processor: str
    software: dict[str, str]  # name: version
    code: Code
    run: str | None

    @classmethod
    def read(cls, properties: Mapping[str, Any]) -> Self | None:
        """That of an item; ``None`` where the map was made by a version of swath that did not write it."""
        if PROVENANCE not in properties:
            return None
        return cls.model_validate(properties[PROVENANCE] | {"software": properties[SOFTWARE]})

    def properties(self) -> dict[str, Any]:
        """As an item's properties."""
        return {PROVENANCE: self.model_dump(mode="json", exclude={"software"}), SOFTWARE: self.software}


class Prediction(Provenance):
    """Of the map of one image. ``batch`` is what the memory was enough for; scale and offset are a Raster's."""

    kind: Literal["prediction"] = "prediction"
    engine: str  # of the runtime; of an ensemble one for each model, joined by "+"
    window: int
    overlap: int
    batch: int
    max_memory: int
    scale: tuple[float, ...]
    offset: tuple[float, ...]


class Joining(Provenance):
    """Of a mosaic: what was asked for."""

    kind: Literal["mosaic"] = "mosaic"
    crs: str | None
    resolution: float | None


def here(engine: str | None = None) -> dict[str, Any]:
    """Processor, software, code and run of this process."""
    software = {name: version(name) for name in _PACKAGES} | {"gdal": rasterio.__gdal_version__}
    name = processor()
    if engine and "torch" in engine:
        import torch

        software["torch"] = torch.__version__
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else name
    made_by = code()
    software["swath"] = made_by.version
    return {"processor": name, "software": software, "code": made_by, "run": airflow_run()}
