"""``limit_spinning``: how long idle threads of GNU's OpenMP, which torch and ncnn use, keep their cores busy."""

from __future__ import annotations

import os
import sys

_VARIABLE = "GOMP_SPINCOUNT"
_SETTINGS = (_VARIABLE, "OMP_WAIT_POLICY")
_COUNT = 30_000  # a tenth of the default, and longer than the pauses between the layers of a network


def limit_spinning() -> bool:
    """Let idle OpenMP threads sleep after 1 to 2 ms instead of 8 to 10, in this process and those that it starts.

    Between two networks, threads that read images, and other runtimes, need the cores. It has to be called before torch
    is imported. Settings in the environment (``GOMP_SPINCOUNT``, ``OMP_WAIT_POLICY``) take precedence.

    Returns:
        Whether it was changed.
    """
    if "torch" in sys.modules or any(name in os.environ for name in _SETTINGS):
        return False
    os.environ[_VARIABLE] = str(_COUNT)
    return True
