"""Random streams and fractal fields: what all of the sample's land and sky are made of."""

from __future__ import annotations

import zlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Field: TypeAlias = NDArray[np.float32]


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator for one purpose, independent of all others and of the order in which they are drawn."""
    keys = [zlib.crc32(n.encode()) if isinstance(n, str) else n for n in names]
    return np.random.default_rng([seed, *keys])


def fractal(rng: np.random.Generator, size: int, *, slope: float, longest: float) -> Field:
    """A field ``(size, size)`` of mean 0 and deviation 1 whose power falls with frequency f as ``f ** -slope``.

    Features are at most ``longest`` pixels long, so that a larger field shows more land and not larger land. Spectral
    synthesis: Saupe, "Algorithms for random fractals", in The Science of Fractal Images, Springer 1988.
    """
    span = int(fft.next_fast_len(size, real=True))
    spectrum = fft.rfft2(rng.standard_normal((span, span), dtype=np.float32))
    down = fft.fftfreq(span).astype(np.float32)[:, None]
    across = fft.rfftfreq(span).astype(np.float32)[None, :]
    spectrum *= (down**2 + across**2 + np.float32(longest**-2)) ** np.float32(-slope / 4)
    spectrum[0, 0] = 0
    field: Field = fft.irfft2(spectrum, (span, span))[:size, :size]
    return np.ascontiguousarray((field - field.mean()) / field.std())


def highest(field: NDArray[np.floating[Any]], share: float) -> NDArray[np.bool_]:
    """True on the ``share`` of the pixels where the field is highest."""
    return np.asarray(field > np.quantile(field, 1 - share))


def hashed(*keys: NDArray[np.int64] | int) -> NDArray[np.uint64]:
    """A fixed scramble of integer arrays, for drawing one value a cell of an endless grid (splitmix64)."""
    state = np.uint64(0x9E3779B97F4A7C15)
    value = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            value = (value ^ np.asarray(key).astype(np.uint64)) + state
            value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            value = value ^ (value >> np.uint64(31))
    return value


def uniform(*keys: NDArray[np.int64] | int) -> Field:
    """``hashed`` as numbers from 0 to 1."""
    return (hashed(*keys) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
