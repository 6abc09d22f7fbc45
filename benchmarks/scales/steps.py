"""Steps that no command offers by themselves, or not without MLflow, as commands: ``python -m ... STEP HOME``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.scales.project import BANDS, DIGEST, PROJECT, VERSION

RUN = "watch"


def plan(home: Path) -> None:
    from pipelines.inference.plan import write_plan
    from pipelines.scenes.catalog import read_scenes

    scenes = read_scenes(home / "catalog" / PROJECT)
    write_plan(home / "predictions" / PROJECT, RUN, VERSION, f"models:/{PROJECT}/{VERSION}", DIGEST, scenes, 4)


def list_maps(home: Path) -> None:
    from pipelines.inference.plan import write_catalog

    write_catalog(home / "predictions" / PROJECT, PROJECT)


def collect(home: Path) -> None:
    from pipelines.config import load_params
    from pipelines.monitoring import watch

    watch.collect(_maps(home), str(VERSION), home / "reports" / RUN, load_params().drift)


def compare(home: Path) -> None:
    from pipelines.config import load_params
    from pipelines.monitoring import watch

    watch.compare_run(_maps(home), home / "reference", home / "reports" / RUN, load_params().drift)


def report(home: Path) -> None:
    from pipelines.config import load_params
    from pipelines.monitoring import watch
    from pipelines.monitoring.looks import Looks

    folder, catalog = home / "reports" / RUN, home / "catalog" / PROJECT
    watch.report_run(_maps(home), catalog, Looks.none(BANDS), folder, load_params().drift, project=PROJECT)


def atlas(home: Path) -> None:
    from plugins.pages.atlas import layers

    layers(PROJECT)


def tile(home: Path) -> None:
    from pipelines.atlas.layers import open_atlas
    from pipelines.atlas.tiles import tile as draw

    draw(open_atlas(PROJECT), "image", 0, 0, 0, bands=("B02", "B08", "B02"))


def open_store(home: Path) -> None:
    from pipelines.dataset.shards import ChipStore

    ChipStore(home / "data" / "chips")


def epoch(home: Path) -> None:
    from pipelines.dataset.shards import ChipStore
    from pipelines.training.batches import BatchOrder

    list(BatchOrder(ChipStore(home / "data" / "chips").rows("train"), 32, 0))


def batches(home: Path) -> None:
    from itertools import islice

    from pipelines.dataset.shards import ChipStore
    from pipelines.dataset.statistics import read_statistics
    from pipelines.training.batches import train_loader

    store, statistics = ChipStore(home / "data" / "chips"), read_statistics(home / "data" / "statistics.json")
    assert len(list(islice(train_loader(store, statistics, 2, ("flip",), 0), 100))) == 100


def certify(home: Path) -> None:
    import geopandas as gpd

    from pipelines.dataset import certificate
    from pipelines.dataset.snapshot import Manifest

    plan = gpd.read_parquet(home / "data" / "chips" / "index.parquet")
    blocks = plan.drop_duplicates("block_id")
    nothing = Manifest(project=PROJECT, bands=BANDS, dtype="uint16", scenes=(), labels=())
    found = certificate.certify(plan, blocks, 452.0, nothing, home)
    assert found.overlap_m2 == 0


def _maps(home: Path) -> Path:
    return home / "predictions" / PROJECT / f"v{VERSION}"


STEPS: dict[str, Callable[[Path], None]] = {
    "plan": plan,
    "list-maps": list_maps,
    "collect": collect,
    "compare": compare,
    "report": report,
    "atlas": atlas,
    "tile": tile,
    "open": open_store,
    "epoch": epoch,
    "batches": batches,
    "certify": certify,
}

if __name__ == "__main__":
    STEPS[sys.argv[1]](Path(sys.argv[2]))
