"""Maps of a world's scenes as prediction leaves them, as far as later steps look: items and profiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scales.project import BANDS, CLASSES, DIGEST, PROJECT, SIDE, VERSION
from pipelines.files import write_json
from pipelines.inference.item import ITEM
from pipelines.monitoring.profile import Profile, SceneProfile
from pipelines.monitoring.reference import write_reference
from pipelines.monitoring.watch import PROFILE
from pipelines.scenes.catalog import read_scenes
from pipelines.scenes.scene import Scene

SAMPLE = 256  # pixels a profile, a sixteenth of what params.yaml asks for: ten thousand of the full ones fill 7 GB
_KINDS = 8  # different profiles; scenes that share one differ in their facts


def write_maps(home: Path) -> None:
    """Items and profiles of all scenes but every tenth, and the reference that drift compares them with."""
    catalog, maps = home / "catalog" / PROJECT, home / "predictions" / PROJECT / f"v{VERSION}"
    scenes = list(read_scenes(catalog))
    observers = [_observed(scene, number) for number, scene in enumerate(scenes[: 2 * _KINDS])]
    samples = [(observer.facts(), observer.columns()) for observer in observers]
    write_reference(home / "reference" / "inputs", samples, ("season", "zone"))
    views = [observer.profile().view for observer in observers[:_KINDS]]
    for number, scene in enumerate(scenes):
        if number % 10 == 9:
            continue
        facts = observers[number % _KINDS].facts()
        own = {"scene": scene.id, "season": scene.season, "zone": scene.zone, "when": scene.datetime}
        Profile(views[number % _KINDS], facts.model_copy(update=own)).write(maps / scene.id / PROFILE)
        checksums = {"swath:source_sha256": scene.image_sha256, "swath:mask_sha256": scene.mask_sha256}
        checksums["swath:model_sha256"] = DIGEST
        legend = [{"value": i, "name": c, "color_hint": "112233"} for i, c in enumerate(CLASSES)]
        assets = {"classes": {"href": "./classes.tif", "classification:classes": legend}, "confidence": {}}
        write_json(maps / scene.id / ITEM, {"id": scene.id, "properties": checksums, "assets": assets})


def _observed(scene: Scene, seed: int) -> SceneProfile:
    random = np.random.default_rng(seed)
    observer = SceneProfile(BANDS, CLASSES, SAMPLE, (SIDE, SIDE), scene)
    pixels = random.uniform(0.01, 0.3, (len(BANDS), SIDE, SIDE)).astype(np.float32)
    sure = random.dirichlet(np.ones(len(CLASSES)), (SIDE, SIDE)).transpose(2, 0, 1).astype(np.float32)
    observer(slice(0, SIDE), pixels, np.zeros((SIDE, SIDE), np.uint8), sure)
    return observer
