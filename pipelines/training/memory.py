"""Memory of a network at work on processors: what one step frees the next one takes again."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_MOST = 2**31 - 1  # bytes, as mallopt takes an int
_USUAL_TRIM, _USUAL_MMAPS = 128 * 1024, 65536  # bytes, and blocks; glibc's own


@contextmanager
def freed_kept() -> Iterator[None]:
    """Within, this process keeps the memory that it frees, where the C library is glibc; elsewhere nothing is changed.

    By default glibc gives each large block back to the system as soon as it is freed. A training step makes the same
    tensors as the one before, as does a batch of windows, so the kernel would empty and map the same pages anew in
    each. Afterwards all that is free is given back at once.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        yield
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST)
    try:
        yield
    finally:
        mallopt(_M_MMAP_MAX, _USUAL_MMAPS)
        mallopt(_M_TRIM_THRESHOLD, _USUAL_TRIM)
        trim(0)
