"""Import a script of ``examples/``, which is no package."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.helpers.paths import ROOT


def load_example(name: str) -> ModuleType:
    """Import ``examples/NAME.py`` as a module of its own.

    Args:
        name: path in ``examples`` without the suffix, such as ``gan/train``.
    """
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
