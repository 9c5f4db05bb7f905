"""The rules of docs/design.md that a program can check: who imports whom, who prints, how long a file is."""

from __future__ import annotations

import ast
import functools
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from darknet_py.layers import LAYERS
from darknet_py.net import NAMES

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "darknet_py"
LINES = 250  # of a file

# A module imports modules of earlier rows alone.
RANKS = (
    ("errors",),
    ("cfg", "activations", "boxes", "fonts", "download", "distribution"),
    ("schema",),
    ("net", "layers"),
    ("network",),
    ("misfit", "images", "data", "rows", "catalogue"),
    ("weights", "draw", "reports"),
    ("results",),
    ("loading", "detect", "classify", "generate", "augment", "schedule", "convert", "optimise", "export"),
    ("train", "evaluate"),
    ("commands",),
    ("cli", "__init__"),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}

MAY_PRINT = ("commands", "cli")
# An assert that only tells a type checker what a container of torch's holds; none of them checks input.
NARROWING = {
    "network.py": "nn.ModuleList gives Module where the network put a Layer",
    "layers/_recurrent.py": "get_submodule gives Module where the layer put a Layer",
}
# Words that are sections' names too, where they mean something else.
OTHER_MEANING: dict[str, set[str]] = {}


def modules() -> list[pathlib.Path]:
    return sorted(PACKAGE.rglob("*.py"))


def named(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@functools.cache
def tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def unit(path: pathlib.Path) -> str:
    """The module or folder right below the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Line and unit of everything that a file takes from the package, inside functions too."""
    below = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE.name]
            yield from ((node.lineno, (name.split(".") + ["__init__"])[1]) for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == PACKAGE.name):
            parts = (node.module or "").split(".") if node.module else []
            if not node.level:
                parts = parts[1:]
            elif node.level < below:
                parts = [unit(path)]
            units = parts[:1] or [alias.name for alias in node.names]
            public = not parts and any(name not in RANK for name in units)
            yield from ((node.lineno, "__init__" if public else name) for name in units)


each_module = pytest.mark.parametrize("path", modules(), ids=named)


@each_module
def test_imports_point_down(path: pathlib.Path) -> None:
    own = unit(path)
    assert own in RANK, f"{named(path)} has no row in RANKS: say what it may import"
    up = [f"line {line}: {other}" for line, other in imported(path) if other != own and RANK[other] >= RANK[own]]
    assert not up, f"{named(path)} imports what stands beside or above it: {', '.join(up)}"


def test_no_layer_is_made_of_a_head() -> None:
    heads = {"detection", "gaussian_yolo", "region", "yolo"}
    for path in sorted((PACKAGE / "layers").glob("*.py")):
        taken = {node.module for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and node.level == 1}
        assert path.stem in heads or not taken & heads, named(path)


@each_module
def test_a_file_is_short(path: pathlib.Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


def test_files_beside_the_package_are_short() -> None:
    beside = [path for folder in ("tests", "tools", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in beside}
    assert not {name: length for name, length in lengths.items() if length > LINES}


@each_module
def test_a_module_says_what_it_is(path: pathlib.Path) -> None:
    assert ast.get_docstring(tree(path))


@each_module
def test_sections_are_named_in_layers_alone(path: pathlib.Path) -> None:
    if unit(path) == "layers" or path.name == "net.py":
        pytest.skip("the place where sections have their names")
    names = {*LAYERS, *NAMES} - OTHER_MEANING.get(named(path), set())
    found = [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert not found, f"{named(path)}: {', '.join(found)}"


@each_module
def test_only_the_command_line_prints(path: pathlib.Path) -> None:
    if unit(path) in MAY_PRINT:
        pytest.skip("part of the command line")
    nodes = list(ast.walk(tree(path)))
    prints = [node.lineno for node in nodes if isinstance(node, ast.Name) and node.id == "print"]
    prints += [node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr == "stdout"]
    exits = [node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("exit", "_exit")]
    assert not prints
    assert not exits


@each_module
def test_input_is_not_checked_by_assert(path: pathlib.Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assert):
            narrowing = isinstance(node.test, ast.Call) and isinstance(node.test.func, ast.Name)
            assert narrowing and node.test.func.id == "isinstance", f"line {node.lineno}"  # type: ignore[attr-defined]
            assert named(path) in NARROWING, f"line {node.lineno}: python -O leaves asserts out"


@each_module
def test_nothing_is_caught_or_imported_wholesale(path: pathlib.Path) -> None:
    for node in ast.walk(tree(path)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {node.lineno}: bare except"
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"line {node.lineno}: import *"


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("module", ["darknet_py", "darknet_py.cfg", "darknet_py.schema", "darknet_py.errors"])
def test_torch_is_not_loaded_to_read_text(module: str) -> None:
    done = run(f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr or "torch was imported"


ON_IMPORT = """
import sys, threading, torch, numpy, PIL.Image
acted = []
def watch(event, args):
    if event.split(".")[0] in ("socket", "subprocess", "urllib") or event == "os.system":
        acted.append(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        acted.append(f"open {args[0]}")
threads, state = threading.active_count(), torch.random.get_rng_state()
sys.addaudithook(watch)
import darknet_py
for name in darknet_py.__all__:
    getattr(darknet_py, name)
assert not acted, acted
assert threading.active_count() == threads
assert torch.equal(state, torch.random.get_rng_state())
assert not torch.cuda.is_initialized()
assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
"""


def test_importing_does_nothing() -> None:
    done = run(ON_IMPORT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
