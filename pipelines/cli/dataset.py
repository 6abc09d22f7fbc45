"""Making a dataset: ``snapshot``, ``split``, ``chip``, ``validate`` and ``statistics``."""

from __future__ import annotations

from pathlib import Path

import typer

from pipelines.cli.result import emit
from pipelines.config import load_params, settings
from pipelines.depot import bring

app = typer.Typer()
DATA = Path("data")


@app.command()
def snapshot() -> None:
    """Pin the scenes that the labels cover, and the labels."""
    from pipelines.dataset.snapshot import take_snapshot
    from pipelines.scenes.catalog import read_scenes

    params = load_params()
    catalog = settings().catalog / params.project
    bring(catalog / "catalog.json", catalog / "scenes")
    scenes = read_scenes(catalog)
    if not scenes:
        bring(catalog / "quarantine")  # says why
    manifest = take_snapshot(scenes, catalog, params, DATA)
    emit(
        {
            "scenes": len(manifest.scenes),
            "labels": len(manifest.labels),
            "excluded": len(manifest.excluded),
            "findings": len(manifest.findings),
        }
    )


@app.command()
def split() -> None:
    """Give blocks of ground to train, val and test, and certify that nothing leaks."""
    from pipelines.dataset.certificate import certify
    from pipelines.dataset.certificate_map import draw_certificate
    from pipelines.dataset.snapshot import read_manifest
    from pipelines.dataset.split import make_split
    from pipelines.files import replacing, write_json

    params = load_params()
    catalog = settings().catalog / params.project
    manifest = read_manifest(DATA / "manifest.json")
    blocks, plan, buffer = make_split(manifest, catalog, DATA / "labels", params)
    certificate = certify(plan, blocks, buffer, manifest, catalog)
    for name, table in (("blocks", blocks), ("plan", plan)):
        with replacing(DATA / f"{name}.parquet") as draft:
            table.to_parquet(draft)
    draw_certificate(DATA / "certificate.png", certificate, blocks, plan)
    write_json(DATA / "certificate.json", certificate.model_dump(mode="json"))
    emit(certificate.model_dump(mode="json", include={"clean", "overlap_m2", "smallest_distance_m", "blocks", "chips"}))


@app.command()
def chip() -> None:
    """Cut images, labels and masks into shards with an index."""
    import geopandas as gpd

    from pipelines.dataset.chips import cut_chips
    from pipelines.dataset.snapshot import read_manifest

    params = load_params()
    catalog = settings().catalog / params.project
    manifest = read_manifest(DATA / "manifest.json")
    plan = gpd.read_parquet(DATA / "plan.parquet")
    index = cut_chips(plan, manifest, catalog, DATA / "labels", params, DATA / "chips")
    emit({"chips": {str(k): int(v) for k, v in index["split"].value_counts().items()}, "planned": len(plan)})


@app.command()
def validate() -> None:
    """Check the chip table and the certificate with Great Expectations; fail if one does not hold."""
    from pipelines.checks.chips import check_chips
    from pipelines.dataset.certificate import read_certificate
    from pipelines.dataset.shards import read_index
    from pipelines.errors import BadData

    params = load_params()
    fractions = params.split.fractions.model_dump()
    certificate = read_certificate(DATA / "certificate.json")
    findings = check_chips(
        read_index(DATA / "chips"),
        certificate.model_dump(),
        splits=[name for name, share in fractions.items() if share > 0],
        min_valid=params.chips.min_valid,
        value_range=params.scenes.checks.value_range,
        folder=(DATA / "validation").resolve(),  # Great Expectations wants absolute paths
    )
    if findings:
        findings += [] if certificate.clean else certificate.findings
        raise BadData(f"The dataset does not pass its checks (see data/validation/docs): {'; '.join(findings)}")
    emit({"success": True, "docs": str(DATA / "validation" / "docs")})


@app.command()
def statistics() -> None:
    """Per-band statistics of the train split's usable pixels."""
    from pipelines.dataset.shards import ChipStore
    from pipelines.dataset.statistics import train_statistics
    from pipelines.files import write_json

    found = train_statistics(ChipStore(DATA / "chips"))
    write_json(DATA / "statistics.json", found.model_dump(mode="json"))
    emit({"chips": found.chips, "bands": {b.name: [round(b.mean, 6), round(b.std, 6)] for b in found.bands}})
