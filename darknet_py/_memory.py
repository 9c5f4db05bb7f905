"""The memory of this machine."""

from __future__ import annotations

import os
import pathlib

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNKNOWN = 2**63 - 1


def machine_memory() -> int:
    """Return the memory that this process may use in bytes: the machine's, or the limit of its container.

    Where the operating system does not tell, it is 2 ** 63 - 1.
    """
    limits = [_UNKNOWN]
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in _CGROUP_LIMITS:
        try:
            text = pathlib.Path(name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)
