"""Plug-ins of a test are forgotten when it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from darknet_py.layers import LAYERS

PREFIX = "darknet_py_plugin_"  # of modules that are loaded from a file


@contextmanager
def forgotten() -> Iterator[None]:
    """Restore the sections that there are, and forget the files of plug-ins, when the block ends."""
    sections, modules = dict(LAYERS), set(sys.modules)
    try:
        yield
    finally:
        LAYERS.clear()
        LAYERS.update(sections)
        for name in set(sys.modules) - modules:
            if name.startswith(PREFIX):
                del sys.modules[name]
