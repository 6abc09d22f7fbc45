"""Memory of a network at work on processors: what one step frees the next one takes again."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_MOST = 2**31 - 1  # bytes, as mallopt takes an int


def keep_freed() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc; elsewhere nothing is changed.

    By default glibc gives each large block back to the system as soon as it is freed. A training step makes the same
    tensors as the one before, as does a batch of windows, so the kernel would empty and map the same pages anew in
    each.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST)
