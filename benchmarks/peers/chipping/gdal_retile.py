"""GDAL's own tool, once for the image and once for the labels, each chip two GeoTIFFs."""

from __future__ import annotations

import shutil
import subprocess

from benchmarks.peers import IMAGE, LABELS
from benchmarks.peers.contender import WINDOW, given, timed


def main() -> None:
    folder, out, _ = given()
    tool = shutil.which("gdal_retile.py") or shutil.which("gdal_retile")
    if tool is None:
        raise SystemExit("gdal_retile.py is not on the PATH; Debian's python3-gdal or PyPI's gdal-wheel brings it")
    with timed():
        for name, raster in (("image", IMAGE), ("label", LABELS)):
            (out / name).mkdir()
            size = ("-ps", str(WINDOW), str(WINDOW))
            subprocess.run([tool, "-q", *size, "-targetDir", str(out / name), str(folder / raster)], check=True)


if __name__ == "__main__":
    main()
