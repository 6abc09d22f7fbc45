"""What usually makes bands move in the way that they did: a hint for the reader, never part of the verdict."""

from __future__ import annotations

import numpy as np

from pipelines.monitoring.drift import Compared
from pipelines.monitoring.features import DARK

_SHORT_WAVES = ("b01", "b02", "b03", "blue", "green", "coastal")
_LONG_WAVES = ("b11", "b12", "swir1", "swir2", "swir16", "swir22", "swir")


def likely_cause(compared: Compared) -> str | None:
    """A sentence about the most likely cause of what is odd, or ``None`` where nothing is or nothing fits.

    Of a scene that is not odd by itself it tells what would be odd if other scenes agreed.
    """
    odd = compared.odd or compared.suspect
    if not odd:
        return None
    if compared.exchanged:
        pairs = ", ".join(f"{_short(a)} and {_short(b)}" for a, b in compared.exchanged)
        return f"Each of {pairs} looks like the other one's reference: the bands are probably in another order."
    bands = {f: pair for f, pair in compared.medians.items() if f.startswith("band.")}
    if any(DARK + f in odd for f in bands):  # what lies there is much the same everywhere
        bands = {f: compared.medians[DARK + f] for f in bands if DARK + f in compared.medians}
    elif not any(f in odd for f in bands):
        return _without_bands(odd, compared.medians)
    here, usual = (np.array([pair[i] for pair in bands.values()]) for i in (0, 1))
    shift = here - usual
    if len(bands) > 1 and np.abs(shift - shift.mean()).max() < 0.35 * abs(shift.mean()):
        return _offset(float(shift.mean()))
    ratio = here / np.where(np.abs(usual) > 1e-9, usual, np.nan)
    if len(bands) > 1 and np.isfinite(ratio).all() and ratio.min() > 0 and ratio.max() < 1.5 * ratio.min():
        factor = float(np.median(ratio))
        if not 0.4 < factor < 2.5:
            return f"Every band is about {factor:.3g} times its usual value: the scale or the units are probably wrong."
        return f"The scene is about {factor:.2g} times as bright as usual in every band: light, sensor or calibration."
    short, long = _mean_shift(bands, _SHORT_WAVES), _mean_shift(bands, _LONG_WAVES)
    if short is not None and long is not None and short > 0 and short > 2 * abs(long):
        return "Short wavelengths are raised and long ones are not: haze or thin cloud that the mask has missed."
    if "index.ndvi" in odd:
        here_ndvi, usual_ndvi = compared.medians["index.ndvi"]
        return f"The vegetation has {'more' if here_ndvi > usual_ndvi else 'less'} green than usual for the season."
    return None


def _without_bands(odd: dict[str, float], medians: dict[str, tuple[float, float]]) -> str:
    detail = [medians[f] for f in odd if f.startswith("detail.") and f in medians]
    if detail and all(here < usual for here, usual in detail):
        return "The bands are as bright as usual and less sharp: blurred, or resampled from coarser pixels."
    if detail and all(here > usual for here, usual in detail):
        return (
            "The bands are as bright as usual and rougher from pixel to pixel: noise, or resampling without a filter."
        )
    if all(f.startswith("register.") for f in odd):
        return "Each band alone looks as usual, their edges do not meet: the bands lie out of register."
    if any(f.startswith(DARK) for f in odd):
        return "The darkest ground has another colour than usual: exchanged bands, thin haze, or ground that is new."
    if any(f.startswith("index.") for f in odd):
        return "No band alone is unusual, their ratios are: the mix of ground cover or its state has changed."
    return "The pixels look as usual and the map does not: ground that the model has seldom seen, or a weak model."


def _offset(shift: float) -> str:
    sentence = f"Every band is shifted by about {shift:+.2g}"
    if 0.07 < abs(shift) < 0.13:
        return f"{sentence}: the offset of -1000 of Sentinel-2 baseline 04.00 was probably " + (
            "not applied." if shift > 0 else "applied twice."
        )
    return f"{sentence}: an additive offset, such as path radiance or a wrong dark level."


def _mean_shift(bands: dict[str, tuple[float, float]], names: tuple[str, ...]) -> float | None:
    found = [here - usual for f, (here, usual) in bands.items() if _short(f).lower() in names]
    return float(np.mean(found)) if found else None


def _short(feature: str) -> str:
    return feature.split(".", 1)[1]
