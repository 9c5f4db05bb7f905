"""``keep_freed_memory``: keep freed memory in the process, so that it is already mapped for the next image.

glibc requests every tensor above 32 MB from the kernel and returns it when it is freed; the kernel then fills page
after page with zeros again. In the first layers of a large network that takes longer than their arithmetic.
"""

from __future__ import annotations

import ctypes
import functools
import os

_M_TRIM_THRESHOLD = -1  # of <malloc.h>
_M_MMAP_THRESHOLD = -3
_INT_MAX = (1 << 31) - 1  # bytes
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Make glibc's malloc keep freed memory, for the whole process and permanently.

    Inference on CPUs is faster, and the process stays at its peak size. The command line calls it; a program that
    embeds this package may. Settings in the environment (``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_``, ``GLIBC_TUNABLES``) take precedence.

    Returns:
        Whether malloc was changed; False with another libc or with settings in the environment.
    """
    if any(name in os.environ for name in _SETTINGS):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # musl has a mallopt, too, that does nothing
        mallopt = libc.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _INT_MAX) and mallopt(_M_TRIM_THRESHOLD, _INT_MAX))
