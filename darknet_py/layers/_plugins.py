"""Plug-ins: modules that register sections of their own, and the class of a section.

``load_plugin`` imports one by its name or its path. An installed package can instead name its sections in the entry
point group ``darknet_py.layers``, each with the module that registers it:

    [project.entry-points."darknet_py.layers"]
    multibox = "my_package.ssd"

That module is imported when a cfg has a section of this name which nothing has registered. So importing this package,
and reading cfgs without such sections, runs no code of other packages.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import sys
import traceback
import zlib
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from .._typing import StrPath
from ..errors import DarknetError, did_you_mean
from ._foreign_sections import FOREIGN_SECTIONS
from .base import LAYERS, Layer

ENTRY_POINT_GROUP = "darknet_py.layers"
ADVICE = "--plugin MODULE, or darknet_py.load_plugin"

_PACKAGE = __name__.partition(".")[0]
_OF_FILE = f"{_PACKAGE}_plugin_"  # prefix of the names of modules that are loaded from a file


def find(name: str) -> type[Layer]:
    """Return the Layer class of a section, which may be in an installed plug-in. Raises ValueError if there is none."""
    if name in LAYERS:
        return LAYERS[name]
    if _load_installed(name):
        return LAYERS[name]
    if name in FOREIGN_SECTIONS:
        raise ValueError(f"section of {FOREIGN_SECTIONS[name]}, which no Darknet reads")
    installed = [point.name for point in entry_points(group=ENTRY_POINT_GROUP)]
    hint = did_you_mean(name, [*LAYERS, *installed]) or f"; that of a plug-in needs {ADVICE}"
    raise ValueError(f"unknown section{hint}")


def load_plugin(module: StrPath) -> ModuleType:
    """Import a module that registers sections with ``section``, so that cfgs can have them.

    Nothing happens if it has been imported before. If it fails, the sections that it has registered are removed.

    Args:
        module: dotted name of a module, or path of a .py file, which need not be in a folder that Python imports from.

    Returns:
        The module.

    Raises:
        DarknetError: there is no such module, importing it fails, or it registers a section that there is already.
    """
    text = os.fspath(module)
    try:
        return _import_file(pathlib.Path(text)) if _is_path(text) else importlib.import_module(text)
    except (Exception, SystemExit) as error:
        for name, kind in list(LAYERS.items()):
            if kind.__module__ not in sys.modules:
                del LAYERS[name]
        raise DarknetError(f"plug-in {text}: {_describe(error, text)}") from error


def is_known(name: str) -> bool:
    """Return whether there is a section of this name, without importing anything."""
    return name in LAYERS or bool(entry_points(group=ENTRY_POINT_GROUP, name=name))


def plugin_of(kind: type[Layer]) -> str:
    """Return what a section was loaded from: the name of a .py file or of a module; empty for those of this package."""
    if kind.__module__.partition(".")[0] == _PACKAGE:
        return ""
    return pathlib.Path(plugin_file(kind)).name or kind.__module__


def plugin_file(kind: type[Layer]) -> str:
    """Return the path of the file that ``load_plugin`` has loaded a section from; empty if it was imported by name."""
    if not kind.__module__.startswith(_OF_FILE):
        return ""
    return str(sys.modules[kind.__module__].__file__)


def _is_path(text: str) -> bool:
    return text.endswith(".py") or os.path.basename(text) != text


def _import_file(path: pathlib.Path) -> ModuleType:
    """Import a file under a name of its own, which is the same in every process."""
    path = path.resolve()
    if (imported := _find_imported(path)) is not None:
        return imported
    name = f"{_OF_FILE}{path.stem}_{zlib.crc32(os.fsencode(path)):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError("no such file: expected the path of a .py file or the name of a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look for it there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _find_imported(path: pathlib.Path) -> ModuleType | None:
    """Return the module of a file, under whatever name it has been imported."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__dict__", {}).get("__file__")  # some put other things than modules there
        if isinstance(file, str) and os.path.basename(file) == path.name and pathlib.Path(file).resolve() == path:
            return module
    return None


def _load_installed(name: str) -> bool:
    """Import the installed plug-in that has a section, if there is one."""
    points = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not points:
        return False
    if len({point.value for point in points}) > 1:
        listed = " and ".join(map(_describe_entry_point, points))
        raise DarknetError(f"section of {listed}: expected one of them, chosen by {ADVICE}")
    load_plugin(points[0].module)
    if name not in LAYERS:
        raise DarknetError(f"{_describe_entry_point(points[0])} does not register this section")
    return True


def _describe_entry_point(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist else ""
    return f"plug-in {point.module}{package}"


def _describe(error: BaseException, text: str) -> str:
    """Describe why a plug-in was not imported, with the last line of its own that was run."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None and f"{text}.".startswith(f"{error.name}."):
        return f"no module named {error.name!r}: expected the name of a module or the path of a .py file"
    if isinstance(error, SyntaxError):
        return f"{_describe_place(error.filename, error.lineno, text)}{error.msg}"
    not_its_own = (str(pathlib.Path(__file__).parents[1]), "<frozen")  # this package, and Python's import
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(not_its_own)]
    place = _describe_place(own[-1].filename, own[-1].lineno, text) if own else ""
    kind = "" if isinstance(error, ValueError | FileNotFoundError) else f"{type(error).__name__}: "
    return f"{place}{kind}{error}"


def _describe_place(file: str | None, line: int | None, text: str) -> str:
    is_plugin = file is not None and _is_path(text) and pathlib.Path(file) == pathlib.Path(text).resolve()
    return f"line {line}: " if is_plugin else f"{file}:{line}: "
