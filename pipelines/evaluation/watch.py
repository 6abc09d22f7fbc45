"""What a map shows on ground that the network was not trained on, as the reference for watching later maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipelines.inference.stitch import RowBand
from pipelines.monitoring.features import Columns
from pipelines.monitoring.profile import Facts, SceneProfile
from pipelines.scenes.scene import MaskBit, Scene

Sample = tuple[Facts, Columns]


class ValProfile:
    """A pixel sample of the val ground of one scene, of which it holds whole masks; it sees all row bands."""

    def __init__(
        self,
        scene: Scene,
        chips: pd.DataFrame,
        bands: Sequence[str],
        classes: Sequence[str],
        sample: int,
        parts: Mapping[str, int],
    ) -> None:
        """``chips`` are the val chips of ``scene``, ``parts`` the numbers of all val blocks; about ``sample`` usable
        pixels are kept."""
        self._elsewhere = np.ones((scene.height, scene.width), bool)
        ground = np.zeros((scene.height, scene.width), np.int32)
        for chip in chips.itertuples():
            place = np.s_[chip.row : chip.row + chip.size, chip.col : chip.col + chip.size]
            self._elsewhere[place] = False
            ground[place] = parts[str(chip.block_id)]
        share = 1 - self._elsewhere.mean()
        shape = (scene.height, scene.width)
        self._profile = SceneProfile(bands, classes, round(sample / share), shape, scene, ground)
        self._scene = scene

    def __call__(self, band: RowBand) -> None:
        hidden = np.where(self._elsewhere[band.rows], np.uint8(MaskBit.NODATA), np.uint8(0))
        self._profile(band.rows, band.pixels, band.mask | hidden, band.probabilities)

    def sample(self) -> Sample:
        """Facts and features; the shares without data and under cloud are those of the whole scene."""
        facts = self._profile.facts()
        whole = {"nodata_share": self._scene.nodata_share, "cloud_share": self._scene.cloud_share}
        return facts.model_copy(update=whole), self._profile.columns()
