"""The certificate as a picture: blocks and chips of each region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import matplotlib

matplotlib.use("Agg")
import shapely
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipelines.dataset.blocks import SPLITS
from pipelines.dataset.certificate import Certificate
from pipelines.dataset.regions import DEGREES, centre_of, equidistant, moved, unit_vectors
from pipelines.files import replacing

COLORS = {"train": "#4477aa", "val": "#ddaa33", "test": "#bb5566"}  # told apart by the colour-blind (Tol)
_PANELS = 11  # regions drawn one by one; all are on the overview


def draw_certificate(target: Path, certificate: Certificate, blocks: gpd.GeoDataFrame, plan: gpd.GeoDataFrame) -> None:
    """Write a PNG: all regions, and the blocks (pale) and chips (outlined) of the largest that have several splits."""
    overview = blocks["region"].nunique() > 1
    table = plan.groupby("region").agg(chips=("chip_id", "size"), splits=("split", "nunique")).reset_index()
    table = table[(table["splits"] > 1) | (not overview)].sort_values(["chips", "region"], ascending=[False, True])
    regions = table["region"].tolist()[:_PANELS]
    panels = len(regions) + overview
    columns = min(4, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(max(8, 4.2 * columns + 0.6), max(6, 4.2 * rows + 1.2)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    if overview:
        _overview(axes[0], blocks)
    for axis, region in zip(axes[overview:], regions, strict=False):
        _panel(axis, region, blocks[blocks["region"] == region], plan[plan["region"] == region])
    for axis in axes[panels:]:
        axis.axis("off")
    distance = certificate.smallest_distance_m
    figure.suptitle(
        f"{'Clean' if certificate.clean else 'NOT clean'}: overlap {certificate.overlap_m2:g} m², smallest distance "
        f"{'none' if distance is None else f'{distance:.0f} m'}, buffer {certificate.buffer_m:.0f} m",
        color="black" if certificate.clean else "#aa0000",
    )
    handles = [
        Patch(color=COLORS[s], label=f"{s}: {certificate.blocks[s]} blocks, {certificate.chips[s]} chips")
        for s in SPLITS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    with replacing(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": None})  # no version: equal input gives equal bytes


def _overview(axis: Any, blocks: gpd.GeoDataFrame) -> None:
    for split in SPLITS:
        centres = shapely.get_coordinates(shapely.centroid(blocks.geometry[blocks["split"] == split].to_numpy()))
        axis.scatter(centres[:, 0], centres[:, 1], s=14, color=COLORS[split], linewidths=0)
    axis.set(title=f"All {blocks['region'].nunique()} regions", xlabel="longitude", ylabel="latitude")
    axis.margins(0.1)


def _panel(axis: Any, region: str, blocks: gpd.GeoDataFrame, plan: gpd.GeoDataFrame) -> None:
    projection = equidistant(*centre_of(unit_vectors(shapely.get_coordinates(blocks.geometry.to_numpy()))))
    for split in SPLITS:
        squares = _rings(blocks.geometry[blocks["split"] == split], projection)
        axis.add_collection(PolyCollection(squares, facecolor=COLORS[split], edgecolor="white", alpha=0.25))
        chips = _rings(plan.geometry[plan["split"] == split].drop_duplicates(), projection)
        axis.add_collection(
            PolyCollection(
                chips, facecolor=(*matplotlib.colors.to_rgb(COLORS[split]), 0.25), edgecolor=COLORS[split], lw=0.5
            )
        )
    axis.autoscale_view()
    axis.set_aspect("equal")
    axis.set(title=f"{region}, {len(plan)} chips", xlabel="km", ylabel="km")
    axis.title.set_fontsize(9)


def _rings(geometries: gpd.GeoSeries, projection: str) -> list[Any]:
    parts = shapely.get_parts(geometries.to_numpy())
    return [moved(shapely.get_coordinates(part.exterior), DEGREES, projection) / 1000 for part in parts]
