"""The pictures of the README, made from the newest real run: ``make pictures`` after ``make run``.

Needs a Chromium on the machine for the screenshots of Airflow, MLflow and the drift report.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib
import mlflow
import numpy as np
import rasterio
from matplotlib import pyplot as plt
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import sync_playwright

from pipelines.config import load_params, settings
from pipelines.config.params import LabelClass
from pipelines.errors import SwathError
from pipelines.local.airflow_api import Airflow
from pipelines.local.services import Services, running, start, stop

matplotlib.use("Agg")

TARGET = Path(__file__).parent / "pictures"
_VIEW = {"width": 1360, "height": 820}
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main() -> None:
    """Take every picture."""
    project = load_params().project
    scene_with_map(project)
    with serving() as services:
        screenshots(services, project)


@contextmanager
def serving() -> Iterator[Services]:
    """The embedded system, started if it is not up, and this process as a client of its MLflow."""
    keep = running() is not None
    services = start(Path(__file__).resolve().parents[1], lambda text: print(text, file=sys.stderr))
    os.environ["MLFLOW_TRACKING_URI"] = services.mlflow
    try:
        yield services
    finally:
        if not keep:
            stop()


def scene_with_map(project: str) -> None:
    """A scene in true colour, its class map and its confidence, side by side."""
    maps = sorted((settings().predictions / project).glob("v*/*/classes.tif"))
    if not maps:
        raise SwathError(f"There is no map of {project} yet; run `make run` first.")
    folder = maps[-1].parent
    classes = load_params().labels.classes
    with rasterio.open(settings().catalog / project / "scenes" / folder.name / "image.tif") as image:
        names = list(image.descriptions)
        bands = image.read([names.index(b) + 1 for b in ("B04", "B03", "B02")]).astype(np.float32)
    bands[:, ~bands.all(0)] = np.nan
    with rasterio.open(folder / "classes.tif") as found, rasterio.open(folder / "confidence.tif") as confidence:
        indices, sure = found.read(1), np.ma.masked_equal(confidence.read(1), confidence.nodata)
    figure, axes = plt.subplots(1, 3, figsize=(13.6, 5), layout="constrained")
    for axis, picture, title in zip(
        axes, (stretched(bands), colours(classes)[indices], sure), ("scene", "classes", "confidence, %"), strict=True
    ):
        shown = axis.imshow(picture, cmap="viridis", interpolation="nearest")
        axis.set_title(title, loc="left")
        axis.axis("off")
    figure.colorbar(shown, ax=axes[2], shrink=0.8)
    figure.legend(
        handles=[Patch(color=c.color, label=c.name) for c in classes],
        loc="outside lower center",
        ncols=6,
        frameon=False,
    )
    figure.savefig(TARGET / "map.png", dpi=80)
    shrink(TARGET / "map.png")


def stretched(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(3, h, w)`` as a picture ``(h, w, 3)``, 0 to 1, between the 1st and 98th percentile; white where NaN."""
    low, high = (np.nanpercentile(bands, share, axis=(1, 2))[:, None, None] for share in (1, 98))
    return np.moveaxis(np.nan_to_num(np.clip((bands - low) / (high - low), 0, 1), nan=1.0), 0, -1)


def colours(classes: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """A table ``(256, 4)`` from class index to colour; white beyond."""
    table = np.full((256, 4), 255, np.uint8)
    for index, label in enumerate(classes):
        table[index, :3] = [int(label.color[i : i + 2], 16) for i in (1, 3, 5)]
    return table


def screenshots(services: Services, project: str) -> None:
    """Airflow's graph, the Swath page in Airflow, an MLflow run and the drift report, in headless Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SwathError("Screenshots need a Chromium; install Debian's package `chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport=_VIEW)
        page.set_default_timeout(60_000)
        _log_in(page, services)
        page.add_init_script("localStorage.setItem('default_dag_view', JSON.stringify('graph'))")
        runs = [run for run in Airflow(services).runs("build_dataset") if run["state"] == "success"]
        page.goto(f"{services.airflow}/dags/build_dataset/runs/{quote(runs[0]['dag_run_id'], safe='')}")
        page.wait_for_timeout(8_000)
        page.screenshot(path=TARGET / "airflow.png")
        page.goto(f"{services.airflow}/plugin/swath")
        swath = page.frame_locator("iframe")
        swath.get_by_role("heading", name=project).get_by_role("link").click()
        swath.locator("img.leaflet-tile-loaded").first.wait_for()
        swath.locator("#map").click(position={"x": 420, "y": 250})
        swath.locator("#pixel").get_by_text("Version").first.wait_for()
        page.wait_for_timeout(8_000)
        page.screenshot(path=TARGET / "page.png")
        client = mlflow.MlflowClient(tracking_uri=services.mlflow)
        experiment = client.get_experiment_by_name(project)
        newest = client.search_runs([experiment.experiment_id], max_results=1)[0].info.run_id
        page.goto(f"{services.mlflow}/#/experiments/{experiment.experiment_id}/runs/{newest}/model-metrics")
        page.set_viewport_size({"width": 1700, "height": 820})
        page.get_by_placeholder("Search metric charts").fill("loss|val_miou|val_iou|lr")
        page.wait_for_timeout(8_000)
        clip = {"x": 190, "y": 0, "width": 1066, "height": 820}  # without menus
        page.screenshot(path=TARGET / "mlflow.png", clip=clip)
        page.set_viewport_size(_VIEW)
        reports = (settings().reports / project / "drift").glob("*/report.html")
        page.goto(max(reports, key=lambda path: path.stat().st_mtime).as_uri())
        page.screenshot(path=TARGET / "drift.png")
        browser.close()
    for name in ("airflow", "page", "mlflow", "drift"):
        shrink(TARGET / f"{name}.png")


def shrink(path: Path) -> None:
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(160)
    small.save(path, optimize=True)


def _log_in(page: Any, services: Services) -> None:
    page.goto(services.airflow)
    page.locator("input[name=username]").fill(services.user)
    page.locator("input[name=password]").fill(services.password)
    page.locator("button[type=submit], input[type=submit]").first.click()
    page.wait_for_url(lambda url: "/auth/login" not in url)


if __name__ == "__main__":
    main()
