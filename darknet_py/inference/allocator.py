"""``keep_freed_memory``: memory that was freed stays with the process, so that the next image finds it mapped.

glibc asks the kernel for every tensor above 32 MB and gives it back when it is freed; the kernel then fills page
after page with zeros again. In the first layers of a large network that takes longer than their arithmetic.
"""

from __future__ import annotations

import ctypes
import functools
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_LARGE = (1 << 31) - 1  # an int's largest; bytes


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc's malloc, for the whole process and for good, to keep what is freed; False under another libc.

    The process stays as large as it was at its largest. Numbers set in the environment (MALLOC_TRIM_THRESHOLD_,
    MALLOC_MMAP_THRESHOLD_, GLIBC_TUNABLES) hold if they are there.
    """
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # musl has a mallopt, too, that does nothing
        mallopt = libc.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _LARGE))
