"""Finding the scenes that a source offers and that the catalog does not have yet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pipelines.config.params import Scenes
from pipelines.errors import BadData
from pipelines.scenes import geotiffs, stac
from pipelines.scenes.area import Bounds
from pipelines.scenes.candidate import Candidate, Refused, digest, safe_id
from pipelines.scenes.clouds import require_model
from pipelines.scenes.dates import Dates
from pipelines.scenes.stacks import reaching_back, stacked

log = logging.getLogger(__name__)


def search(scenes: Scenes, area: Bounds | None, dates: Dates) -> tuple[list[Candidate], list[Refused]]:
    """All scenes of the source within area, dates and cloud cover, by id, and those that cannot be taken.

    The fingerprint of each changes when its files, its metadata or the parameters that shape its pixels do. Raises
    ``SwathError`` if the cloud model that the parameters ask for is not installed.
    """
    require_model(scenes.cloud_mask)
    # without a model these shape nothing, and catalogs from before there was one keep their scenes
    idle = None if scenes.cloud_mask.model else {"cloud_mask": {"model", "level", "bands"}}
    kept = {"assets", "bands", "nodata", "radiometry", "cloud_mask", "unplaced"} | (
        {"stack"} if scenes.stack else set()
    )
    shaping = [area, scenes.model_dump(include=kept, exclude=idle)]
    taken: dict[str, Candidate] = {}
    refused: list[Refused] = []
    if scenes.stack:
        offered = stacked(_offered(scenes, area, reaching_back(dates, scenes.stack)), scenes.stack, dates)
    else:
        offered = _offered(scenes, area, dates)
    for found in offered:
        entry = found.model_copy(update={"fingerprint": digest([found.id, found.fingerprint, shaping])})
        if isinstance(entry, Refused):
            refused.append(entry)
            continue
        try:
            key = safe_id(entry.id).casefold()  # some file systems take a and A for one
            if (former := taken.get(key)) is not None:
                raise BadData(f"Its id {entry.id!r} is also that of {former.source}; give each scene its own.")
            taken[key] = entry
        except BadData as error:
            name = f"{entry.id} at {entry.source}"  # apart from a good scene of the same id
            refused.append(Refused(id=name, source=entry.source, reason=str(error), fingerprint=entry.fingerprint))
    log.info("%s offers %d scenes; %d more are refused", scenes.source, len(taken), len(refused))
    return sorted(taken.values(), key=lambda one: one.id), refused


def _offered(scenes: Scenes, area: Bounds | None, dates: Dates) -> Iterator[Candidate | Refused]:
    source = scenes.source
    if source.startswith(("http://", "https://")) or (source.endswith(".json") and not Path(source).is_dir()):
        return stac.candidates(scenes, area, dates)
    return geotiffs.candidates(scenes, area, dates)
