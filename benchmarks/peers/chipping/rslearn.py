"""rslearn's prepare, ingest and materialize, with a window a chip: two GeoTIFFs each."""

from __future__ import annotations

from benchmarks.peers import IMAGE, LABELS
from benchmarks.peers.contender import WINDOW, given, timed
from benchmarks.peers.rslearn_dataset import BANDS, add_windows, materialize, raster_layer


def main() -> None:
    folder, out, _ = given()
    layers = {}
    for name, raster, dtype, bands in (("image", IMAGE, "uint16", BANDS), ("label", LABELS, "uint8", BANDS[:1])):
        (out / name).mkdir()
        (out / name / "scene.tif").symlink_to(folder / raster)  # its reader takes all that a folder holds
        layers[name] = raster_layer(dtype, bands, out / name)
    with timed():
        materialize(add_windows(out / "dataset", layers, folder / IMAGE, WINDOW))


if __name__ == "__main__":
    main()
