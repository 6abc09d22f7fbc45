"""What pixels mean: scale and offset by metadata, checked against the pixels.

Sentinel-2: reflectance = (DN + ADD_OFFSET) / QUANTIFICATION_VALUE with QUANTIFICATION_VALUE 10000; ADD_OFFSET is -1000
from processing baseline 04.00 on and absent before, whatever the date of acquisition; DN 0 is no data. Source: ESA,
SentiWiki, S2 Products (BOA_ADD_OFFSET, RADIO_ADD_OFFSET). Catalogs that take the offset out of their copies say so by
a flag, ``boa_offset_applied``, and get flag or asset metadata wrong now and then (Element84/earth-search issues 9, 66
and 71), so what they say is held against the dark end of the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.config.params import Radiometry
from pipelines.errors import BadData
from pipelines.scenes.candidate import Quantity
from pipelines.scenes.scene import Band

QUANTIFICATION = 10_000
ADD_OFFSET = -1000
DARK = 2.0  # percentile of a band's valid DN that counts as its dark end; a few dead or over-corrected pixels lie below
PROOF = 800  # a dark end below it would be a reflectance under -0.02, so the pixels cannot hold the offset
SUSPECT = (1000, 1500)  # the dark bands start here if the offset is still in: reflectance 0 to 0.05
AGREE, TOO_BRIGHT = "the pixels agree", "the pixels do not contradict it, being too bright to tell"
DARK_BANDS = 2  # that many of three or more; over desert only the blue band is as dark as this of its own


def settle(
    radiometry: Radiometry,
    names: Sequence[str],
    dark: Sequence[float],
    *,
    baseline: str | None = None,
    offset_applied: bool | None = None,
    quantities: Sequence[Quantity | None] = (),
) -> tuple[tuple[Band, ...], str]:
    """Bands with scale and offset, and one sentence that says how they were settled.

    ``dark`` is the ``DARK`` percentile of the valid pixels of each band, in DN; ``quantities`` what the metadata says
    of each band. Raises ``BadData`` if the metadata is silent, or if it and the pixels contradict each other.
    """
    if radiometry.kind == "declared":
        scales, offsets = _each(radiometry.scale, len(names)), _each(radiometry.offset, len(names))
        bands = tuple(
            Band(name=n, units=radiometry.units, scale=s, offset=o)
            for n, s, o in zip(names, scales, offsets, strict=True)
        )
        stated = {
            (said.scale, said.offset)
            for said, band in zip(quantities, bands, strict=False)
            if said and not (_equal(said.scale, band.scale) and _equal(said.offset, band.offset))
        }
        if not stated:
            return bands, "Scale and offset are those of params.yaml."
        others = " and ".join(f"scale {scale:g}, offset {offset:g}" for scale, offset in sorted(stated))
        return bands, f"Scale and offset are those of params.yaml, though the source states {others}."
    offset, sentence = _sentinel2(names, dark, baseline, offset_applied, quantities)
    return (
        tuple(
            Band(name=n, units=radiometry.units, scale=1 / QUANTIFICATION, offset=offset / QUANTIFICATION)
            for n in names
        ),
        sentence,
    )


def _equal(stated: float, declared: float) -> bool:
    return math.isclose(stated, declared, rel_tol=1e-6, abs_tol=1e-12)


def _sentinel2(
    names: Sequence[str],
    dark: Sequence[float],
    baseline: str | None,
    offset_applied: bool | None,
    quantities: Sequence[Quantity | None],
) -> tuple[int, str]:
    claims = _claims(baseline, offset_applied, quantities)
    if not claims:
        raise BadData(
            "Nothing says whether the pixels hold the offset of baseline 04.00: no processing baseline, no "
            "boa_offset_applied, no scale and offset of the assets. State one, or use radiometry kind 'declared'."
        )
    text = "; ".join(f"{what} says {offset:+d}" if offset else f"{what} says 0" for what, offset in claims.items())
    ends = ", ".join(f"{n} {d:.0f}" for n, d in zip(names, dark, strict=True))
    without = [n for n, d in zip(names, dark, strict=True) if d < PROOF]
    dim = sum(SUSPECT[0] <= d < SUSPECT[1] for d in dark)
    suspect = SUSPECT[0] <= min(dark) and dim >= (DARK_BANDS if len(dark) > DARK_BANDS else 1)
    offsets = set(claims.values())
    if offsets == {ADD_OFFSET} and not without:
        return ADD_OFFSET, f"Offset {ADD_OFFSET}: {text}; {AGREE if dim else TOO_BRIGHT} (dark ends: {ends})."
    if offsets == {0} and not suspect:
        return 0, f"Offset 0: {text}; {AGREE if without else TOO_BRIGHT} (dark ends: {ends})."
    if offsets == {0, ADD_OFFSET} and without:
        return 0, f"Offset 0: {text}; the pixels settle it, as they cannot hold the offset (dark ends: {ends})."
    if offsets == {ADD_OFFSET}:
        reason = f"but the pixels of {', '.join(without)} show that it is not in them"
    elif offsets == {0}:
        reason = "but the dark bands start where they would if the offset were still in the pixels"
    else:
        reason = "which contradict each other, and the pixels do not settle it"
    raise BadData(
        f"The radiometry is in a mixed state: {text}, {reason} (dark ends: {ends}). Correct the metadata at the "
        "source, or use radiometry kind 'declared' for a source that you know."
    )


def _claims(baseline: str | None, offset_applied: bool | None, quantities: Sequence[Quantity | None]) -> dict[str, int]:
    """DN offset to add, by each statement. A flag of True overrules the baseline, which speaks of ESA's own files."""
    claims: dict[str, int] = {}
    if offset_applied:
        claims["boa_offset_applied=true"] = 0
    elif baseline is not None:
        claims[f"baseline {baseline}"] = ADD_OFFSET if _number(baseline) >= 4 else 0
    stated = {_dn_offset(q) for q in quantities if q is not None}
    if len(stated) > 1:
        raise BadData(
            f"The radiometry is in a mixed state: the assets state DN offsets {sorted(stated)} in one scene. "
            "Correct the metadata at the source."
        )
    for offset in stated:
        claims["the assets' scale and offset"] = offset
    return claims


def _dn_offset(quantity: Quantity) -> int:
    if not math.isclose(quantity.scale, 1 / QUANTIFICATION, rel_tol=1e-6):
        raise BadData(
            f"An asset states the scale {quantity.scale}, but Sentinel-2 reflectance has {1 / QUANTIFICATION}. "
            "Use radiometry kind 'declared' for such a source."
        )
    offset = round(quantity.offset / quantity.scale)
    if offset not in (0, ADD_OFFSET):
        raise BadData(f"An asset states an offset of {offset} DN; Sentinel-2 has 0 or {ADD_OFFSET}.")
    return offset


def _number(baseline: str) -> float:
    try:
        return float(baseline)
    except ValueError:
        raise BadData(f"The processing baseline {baseline!r} is no number such as 05.09; correct it.") from None


def _each(value: float | tuple[float, ...], count: int) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * count
