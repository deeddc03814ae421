"""Memory that stays: what a training step frees, the next one takes again.

A C library gives freed memory back to the system, and the system hands out none that it has not zeroed.  A step that
holds megabytes of patches or activations pays for that at every step: of a VQ-VAE's, a quarter of its time.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8       # mallopt's names, <malloc.h>
KEPT = 2**30               # bytes that are free and stay; beyond them memory is given back as before
APART = 2**25              # bytes: larger arrays have memory of their own, given back with them; mallopt's most
WISHES = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX")


@cache
def keep_memory() -> bool:
    """From now on this process keeps up to a gigabyte that it has freed; returns whether it does.

    Threads share it: what one has freed another may take.  Only glibc's malloc can be told; it is left alone where the
    environment says what it shall do.
    """
    if any(name in os.environ for name in WISHES):
        return False
    with suppress(AttributeError, OSError, TypeError):       # another C library, or none that has a name
        mallopt = ctypes.CDLL(None).mallopt
        return all([mallopt(MMAP_THRESHOLD, APART), mallopt(TRIM_THRESHOLD, KEPT), mallopt(ARENA_MAX, 1)])
    return False
