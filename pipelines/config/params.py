"""The shape of ``params.yaml``. Meanings and units stand beside the values there."""

from __future__ import annotations

import math
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(|[KMGT]I?)B?\s*", re.IGNORECASE)  # of memory
MOST_SHARDS = 1000  # of a mapped task; Airflow takes 1,024

Also = Literal["probabilities", "entropy", "polygons"]  # what a map may hold beside classes and confidence
Light = Literal["blue", "green", "red", "nir", "swir16", "swir22"]  # what a cloud model calls the bands that it sees
Task = Literal["segmentation", "classification", "detection"]  # a class for each pixel, for a whole chip, or boxes
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every library that is used takes
Share = Annotated[float, Field(ge=0, le=1)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Radiometry(_Section):
    kind: Literal["sentinel2", "declared"]
    units: str
    scale: float | tuple[float, ...] = 1.0
    offset: float | tuple[float, ...] = 0.0


class CloudMask(_Section):
    asset: str | None = None
    cloud: tuple[int, ...] = ()
    shadow: tuple[int, ...] = ()
    band: Annotated[int, Field(ge=1)] | None = None
    bits: bool = False
    model: Literal["ukis-csmask"] | None = None
    level: Literal["l1c", "l2a"] = "l2a"
    bands: dict[Light, str] = {}

    @model_validator(mode="after")
    def _model_can_see(self) -> Self:
        if self.bits and any(not 0 <= bit < 32 for bit in self.cloud + self.shadow):
            raise ValueError("with cloud_mask.bits, cloud and shadow are numbers of bits, from 0 to 31")
        if self.model is None:
            return self
        if missing := [name for name in ("blue", "green", "red", "nir") if name not in self.bands]:
            raise ValueError(f"{self.model} looks for cloud in {', '.join(missing)} too; say in bands which those are")
        if ("swir16" in self.bands) != ("swir22" in self.bands):
            raise ValueError(f"{self.model} sees swir16 and swir22 together; name both in bands, or neither")
        return self


class Stack(_Section):
    dates: Annotated[int, Field(ge=2, le=32)]
    days: Annotated[float, Field(gt=0)]
    apart: Annotated[float, Field(gt=0)] = 1
    max_cloud: Annotated[float, Field(ge=0, le=100)] = 100
    clouds: Literal["masked", "seen"] = "masked"

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.apart * (self.dates - 1) > self.days:
            raise ValueError(f"{self.dates} dates {self.apart:g} days apart do not fit into {self.days:g} days")
        return self


class SceneChecks(_Section):
    max_nodata: Share
    value_range: tuple[float, float]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError(f"value_range {list(self.value_range)} must be [lowest, highest]")
        return self


class Scenes(_Section):
    source: str
    sign: Literal["planetary-computer"] | None = None
    collections: tuple[str, ...] = ()
    area: tuple[float, float, float, float] | Path | None = None
    dates: tuple[date, date] | None = None
    max_cloud: Annotated[float, Field(ge=0, le=100)] = 100
    assets: tuple[str, ...] = ()
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    nodata: Annotated[float, Field(allow_inf_nan=True)] | None = None
    unplaced: Annotated[float, Field(gt=0)] | None = None
    radiometry: Radiometry
    cloud_mask: CloudMask = CloudMask()
    stack: Stack | None = None
    shard: Annotated[int, Field(ge=1)] = 8
    checks: SceneChecks

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dates and self.dates[0] > self.dates[1]:
            raise ValueError(f"dates must be [first, last], and {self.dates[0]} is after {self.dates[1]}")
        if len(set(self.image_bands)) != len(self.image_bands):
            raise ValueError("band names must differ from each other")
        if len(self.assets) > 1 and len(self.assets) != len(self.bands):
            raise ValueError(
                f"{len(self.assets)} assets for {len(self.bands)} bands; give one asset a band, one with all bands, or "
                "none"
            )
        for name in ("scale", "offset"):
            value = getattr(self.radiometry, name)
            if isinstance(value, tuple) and len(value) != len(self.bands):
                raise ValueError(f"radiometry.{name} has {len(value)} values for {len(self.bands)} bands")
        if model := self.cloud_mask.model:
            if self.stack:
                raise ValueError(f"{model} looks at one date; leave out stack, or name an asset in cloud_mask")
            if absent := [name for name in self.cloud_mask.bands.values() if name not in self.bands]:
                raise ValueError(f"cloud_mask.bands has {', '.join(absent)}, which is not among scenes.bands")
            if self.radiometry.units != "reflectance":
                raise ValueError(f"{model} looks for cloud in reflectance, not in {self.radiometry.units}")
        return self

    @property
    def image_bands(self) -> tuple[str, ...]:
        """The bands of a scene's image: ``bands``, and in a stack those of earlier dates, ``B02-1`` the date before."""
        dates = self.stack.dates if self.stack else 1
        return self.bands + tuple(f"{band}-{date}" for date in range(1, dates) for band in self.bands)

    @property
    def nodata_is_nan(self) -> bool:
        return self.nodata is not None and math.isnan(self.nodata)


class LabelClass(_Section):
    name: Annotated[str, Field(min_length=1)]
    value: int  # in a label raster, or in the attribute of a shape
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Labels(_Section):
    source: str
    field: str | None = None
    background: str | None = None
    match: str | None = None
    max_shift: float = 3.0
    classes: Annotated[tuple[LabelClass, ...], Field(min_length=2, max_length=254)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [c.name for c in self.classes]
        if len({name.casefold() for name in names}) != len(names):
            raise ValueError("class names must differ from each other, by more than upper and lower case")
        if len({c.value for c in self.classes}) != len(names):
            raise ValueError("class values must differ from each other")
        values = {str(c.value): c.name for c in self.classes}
        if swapped := [name for name in names if values.get(name, name) != name]:
            raise ValueError(f"class {swapped[0]} is named like the value of another; labels could mean either")
        if self.background is not None and self.background not in names:
            raise ValueError(f"background {self.background!r} is none of the classes {names}")
        return self


class Fractions(_Section):
    train: Share
    val: Share
    test: Share

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train, val and test must add up to 1")
        return self


class Split(_Section):
    block: Annotated[float, Field(gt=0)]
    buffer: Annotated[float, Field(ge=0)] | None = None
    fractions: Fractions
    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Annotated[int, Field(ge=0)] = 0
    keep: Path | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.folds is not None and self.keep is not None:
            raise ValueError("folds divide all ground and keep leaves some as it is; give one of them")
        if self.folds is not None and not (self.fold < self.folds and self.fractions.train and self.fractions.test):
            raise ValueError(f"fold must be 0 to {self.folds - 1}, and fractions.train and fractions.test above 0")
        return self


class Chips(_Section):
    size: Annotated[int, Field(ge=32, multiple_of=32)]
    stride: Annotated[int, Field(ge=1)]
    min_valid: Share
    keep_empty: Share = 1.0
    pixels: Literal["shards", "scenes"] = "shards"
    shard: Annotated[int, Field(ge=1)] = 2048


U_NETS = ("unet", "unetplusplus", "manet")  # of smp, whose decoders have a level for each halving


class Model(_Section):
    library: Literal["smp", "torchgeo", "timm", "torchvision"]
    name: str
    encoder: str = "none"
    weights: str | None = None  # a file of weights, or the name of torchgeo weights
    weights_bands: tuple[str, ...] = ()
    detail: Annotated[int, Field(ge=0)] = 0
    depth: Annotated[int, Field(ge=3, le=5)] | None = None  # how often the encoder halves an image; the library's own

    def for_chips(self, side: int) -> Self:
        """With a depth that suits images of ``side`` pixels, for a U-Net with random weights that was given none.

        Of what a chip's side of ``side`` pixels becomes, 8 are left: on maps of 2 x 2 a 3 x 3 convolution sees mostly
        padding, and on the sample's chips of 64 px these took almost half of a training step and improved nothing.
        """
        if self.depth or self.weights or self.library != "smp" or self.name.lower() not in U_NETS:
            return self
        return self.model_copy(update={"depth": min(max((side // 8).bit_length() - 1, 3), 5)})

    @property
    def called(self) -> str:
        return self.name if self.encoder == "none" else f"{self.name} on {self.encoder}"


class Train(_Section):
    model: Model
    loss: dict[Literal["cross_entropy", "dice", "focal", "detector"], Annotated[float, Field(ge=0)]]
    class_weights: bool
    epochs: Annotated[int, Field(ge=1)]
    patience: Annotated[int, Field(ge=1)]
    crop: Annotated[int, Field(ge=32, multiple_of=32)] | None = None
    batch: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    ema: Annotated[float, Field(ge=0, lt=1)] = 0
    freeze: Annotated[int, Field(ge=0)] = 0
    encoder_lr: Annotated[float, Field(gt=0, le=1)] = 1.0
    hard: Annotated[float, Field(ge=0, lt=1)] = 0
    augment: tuple[Literal["flip", "rotate90", "brightness", "color", "contrast", "haze"], ...]
    precision: Literal["auto", "32", "16-mixed", "bf16-mixed"] = "auto"
    seed: Seed = 0


class Evaluate(_Section):
    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    baseline: bool = True


class Gate(_Section):
    min_gain: float
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    class_floor: Share
    scene_floor: Share
    max_slowdown: Annotated[float, Field(gt=0)]
    approval: bool = False
    approval_hours: Annotated[float, Field(gt=0)] = 24


class Predict(_Section):
    window: Annotated[int, Field(ge=32, multiple_of=32)]
    overlap: Annotated[int, Field(ge=0)]
    views: Literal[1, 4, 8] = 1
    batch: Annotated[int, Field(ge=1)]
    max_change: Annotated[float, Field(ge=0, le=0.1)] = 0.005
    max_memory: str
    shard: Annotated[int, Field(ge=1)]
    also: tuple[Also, ...] = ()
    simplify: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (size := SIZE.fullmatch(self.max_memory)) or not float(size[1]):
            raise ValueError(f"max_memory {self.max_memory!r} is no amount of memory; write it as 2GB or 512MB")
        if self.overlap * 2 > self.window:
            raise ValueError("overlap may be at most half of the window")
        return self


class Drift(_Section):
    false_alarms: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    threshold: Annotated[float, Field(gt=0, le=1)]
    min_pixels: Annotated[int, Field(ge=1)]
    min_scenes: Annotated[int, Field(ge=1)]
    sample: Annotated[int, Field(ge=64)]
    by: tuple[Literal["season", "zone"], ...]
    cooldown_days: Annotated[float, Field(ge=0)]


class Params(_Section):
    """Everything that decides what is computed, as one immutable value."""

    project: Slug
    task: Task
    scenes: Scenes
    labels: Labels
    split: Split
    chips: Chips
    train: Train
    evaluate: Evaluate
    gate: Gate
    predict: Predict
    drift: Drift

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        model, detects = self.train.model, self.task == "detection"
        if not any(self.train.loss.values()):
            raise ValueError("train.loss has no term with a weight, so nothing would be learned; name one")
        if model.weights_bands and not set(model.weights_bands) & set(self.scenes.bands):
            raise ValueError("train.model.weights_bands names none of scenes.bands; write both the same way")
        if model.weights is None and (model.weights_bands or self.train.freeze):
            raise ValueError("train.model.weights_bands and train.freeze are of train.model.weights, which is null")
        if model.library == "timm" and model.encoder != "none":
            raise ValueError(f"train.model.encoder {model.encoder} means nothing to timm; set it to none")
        if model.library not in (fitting := _LIBRARIES[self.task]):
            raise ValueError(f"train.model.library {model.library} is not for {self.task}: take {' or '.join(fitting)}")
        if model.depth and (model.library != "smp" or model.name.lower() not in U_NETS):
            raise ValueError(f"train.model.depth is not for {model.name}, but for smp's {', '.join(U_NETS)}; take null")
        if self.task != "segmentation" and model.detail:
            raise ValueError("train.model.detail is for segmentation alone; set it to 0")
        if ("detector" in self.train.loss) != detects or (detects and len(self.train.loss) > 1):
            raise ValueError(
                "train.loss is {detector: 1.0} for detection, whose networks bring their own, and only there"
            )
        if detects and (self.labels.background is None or self.labels.background != self.labels.classes[0].name):
            raise ValueError("detection needs labels.background, and it must be the first of labels.classes")
        if self.task == "classification" and self.predict.window != (self.train.crop or self.chips.size):
            raise ValueError(
                f"predict.window {self.predict.window} is not the size that a classifier is trained on; set it to "
                f"{self.train.crop or self.chips.size}, train.crop or chips.size"
            )
        if self.scenes.radiometry.units.casefold() in _DIFFERENCES and (wrong := _LIGHT & set(self.train.augment)):
            raise ValueError(
                f"train.augment has {', '.join(sorted(wrong))}, which multiplies values as light does; in "
                f"{self.scenes.radiometry.units} that means another thing, so leave it out"
            )
        if detects and self.train.hard:
            raise ValueError("train.hard is not for detection, whose loss is not told by chip; set it to 0")
        seen = self.train.crop or self.chips.size  # pixels
        if seen > self.chips.size:
            raise ValueError(f"train.crop {seen} does not fit into chips of chips.size {self.chips.size}")
        if detects and (self.predict.views > 1 or self.predict.window < 64 or seen < 64):
            raise ValueError("detection takes predict.views 1, and chips, crops and windows of at least 64 pixels")
        return self


_LIGHT = {"brightness", "color", "contrast", "haze"}
_DIFFERENCES = {"db", "decibel", "m", "metre", "metres", "meter", "meters", "ft", "k", "kelvin", "c", "celsius", "degc"}
_LIBRARIES: dict[Task, tuple[str, ...]] = {
    "segmentation": ("smp", "torchgeo"),
    "classification": ("timm",),
    "detection": ("torchvision",),
}
