"""The rules of docs/design.md that a program can check: imports, printing, names, length of files."""

from __future__ import annotations

import ast
import functools
import graphlib
import pathlib
import re
from collections.abc import Callable, Iterator

import pytest

from darknet_py.cfg.net_section import NAMES
from darknet_py.layers import LAYERS

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "darknet_py"
LINES = 300  # of a file
# Longer files, with the one reason that each has to change.
LONG_FILES = {
    "augmentation/detection.py": "how a training image of a detector is made: options, the steps, what combines images",
    "detector.py": "one class: how images become boxes, one by one, in batches, as a stream",
    "exporters/mil_evaluation.py": "the operations of one language, each a few lines, as its manual defines them",
    "inference/fused_network.py": "one class: how layers become steps, and how the steps run",
    "training/trainer.py": "the state of a run and the loop over its iterations, evaluations and checkpoints",
}

# What a module or package may import: its own row and earlier rows, without cycles.
ROWS = (
    (
        "errors",
        "initial_values",
        "locks",
        "messages",
        "modes",
        "processor",
        "python_process",
        "signals",
        "_liveness",
        "_memory",
        "_nms",
        "_soft_nms",
        "_table",
        "_typing",
        "_version",
    ),
    ("activations", "boxes", "cfg", "devices", "distributed", "figures", "files", "runtimes", "text_files"),
    ("hub", "layers", "schedule"),
    ("_building", "_layer_table", "_receptive_field", "images"),
    ("_memory_plan",),
    ("network",),
    ("weights", "results", "data", "demo", "postprocess"),
    ("loading", "video", "augmentation", "tracking", "counting"),
    ("conversion", "diagram", "exporters", "inference"),
    ("backbones", "detector", "classifier", "generate", "compat"),
    ("explanation", "tiling", "evaluation", "compare", "visualization"),
    ("model_report", "publishing", "pruning", "quantization"),
    ("training", "serving"),
    ("tuning",),
    ("commands",),
    ("cli", "__init__"),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}

MAY_PRINT = ("commands", "cli", "__main__")
# Section names that are also ordinary words; all others occur in layers/ only.
PLAIN_WORDS = {"activation", "cost", "crop", "detection", "empty", "local", "logistic", "max"}
PLAIN_WORDS |= {"net", "network", "prelu", "rnn"}


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


def imported_names(path: pathlib.Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and full name of everything that a file imports from the package, inside functions too."""
    place = (PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = place[: len(place) - node.level + 1] if node.level else ()
            module = (*start, *(node.module.split(".") if node.module else ()))
            names = [(*module, alias.name) for alias in node.names if alias.name != "__version__"]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name[0] == PACKAGE.name)


def imported(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Line and unit of everything that a file imports from the package."""
    for line, name in imported_names(path):
        inside = [part for part in name[1:2] if is_unit(part)]
        yield line, (inside or ["__init__"])[0]


def imported_modules(path: pathlib.Path) -> Iterator[tuple[int, pathlib.Path]]:
    """Line and file of every module that a file imports from the package."""
    for line, name in imported_names(path):
        for length in range(len(name), 0, -1):
            place = PACKAGE.parent.joinpath(*name[:length])
            files = [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
            if files:
                yield line, files[0]
                break


@functools.cache
def is_section(path: pathlib.Path) -> bool:
    """Whether a module registers a section type."""
    decorators = [one for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef) for one in node.decorator_list]
    return any(isinstance(one, ast.Call) and ast.unparse(one.func) == "section" for one in decorators)


def is_unit(name: str) -> bool:
    return (PACKAGE / f"{name}.py").is_file() or (PACKAGE / name / "__init__.py").is_file()


def test_every_module_has_a_row() -> None:
    assert {unit(path) for path in modules()} == set(RANK)


def imports_point_down(path: pathlib.Path) -> Iterator[str]:
    yield from (f"line {line}: imports {other}" for line, other in imported(path) if RANK[other] > RANK[unit(path)])


def test_imports_make_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in modules():
        graph.setdefault(unit(path), set()).update(other for _, other in imported(path) if other != unit(path))
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError, which shows the circle


def test_the_rows_are_modules() -> None:
    assert {name for name in RANK if not is_unit(name)} <= {"__init__"}


def test_modules_make_no_cycle() -> None:
    graph = {path: {other for _, other in imported_modules(path) if other != path} for path in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which shows the cycle


def test_every_section_type_has_a_module() -> None:
    kinds = set(LAYERS.values())
    assert {path for path in modules() if is_section(path)} == {
        PACKAGE.parent.joinpath(*kind.__module__.split(".")).with_suffix(".py") for kind in kinds
    }
    assert len(kinds) == sum(map(is_section, modules()))


def no_module_imports_a_section(path: pathlib.Path) -> Iterator[str]:
    yield from (f"line {line}: imports {named(other)}" for line, other in imported_modules(path) if is_section(other))


def a_file_is_short_or_listed(path: pathlib.Path) -> Iterator[str]:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if (lines > LINES) != (named(path) in LONG_FILES):
        yield f"{lines} lines, and LONG_FILES says otherwise"


def test_files_beside_the_package_are_short() -> None:
    beside = [path for folder in ("tests", "tools", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in beside}
    assert not {name: length for name, length in lengths.items() if length > LINES}


def test_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for path in modules():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(named(path))
    assert not {name: paths for name, paths in places.items() if len(paths) > 1}


def a_module_does_not_have_the_name_of_its_function(path: pathlib.Path) -> Iterator[str]:
    names = {node.name for node in tree(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if path.stem in names:
        yield f"defines {path.stem}"


def only_postprocess_decodes_heads_and_applies_nms_by_class(path: pathlib.Path) -> Iterator[str]:
    steps = {"batched_nms", "undo_letterbox", "decode_all"}
    called = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    used = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}
    if unit(path) not in ("layers", "boxes", "postprocess"):
        yield from (f"calls {name}" for name in used & steps)


def a_module_says_what_it_is(path: pathlib.Path) -> Iterator[str]:
    if not ast.get_docstring(tree(path)):
        yield "no docstring"


def sections_are_named_in_layers_alone(path: pathlib.Path) -> Iterator[str]:
    if unit(path) in ("layers", "net"):
        return
    names = {*LAYERS, *NAMES} - PLAIN_WORDS
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
            yield f"line {node.lineno}: {node.value!r}"


def only_the_command_line_prints(path: pathlib.Path) -> Iterator[str]:
    if unit(path) in MAY_PRINT:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name) and node.id == "print":
            yield f"line {node.lineno}: print"
        if isinstance(node, ast.Attribute) and node.attr in ("stdout", "exit", "_exit"):
            yield f"line {node.lineno}: {node.attr}"


def input_is_not_checked_by_assert(path: pathlib.Path) -> Iterator[str]:
    # What torch's containers give is a Module to a type checker, where the network put a Layer: no input.
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assert) and not re.fullmatch(r"isinstance\(\w+, Layer\)", ast.unparse(node.test)):
            yield f"line {node.lineno}: assert"


def nothing_is_caught_or_imported_wholesale(path: pathlib.Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: bare except"
        if isinstance(node, ast.Global):
            yield f"line {node.lineno}: global"
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"line {node.lineno}: import *"


RULES = (
    imports_point_down,
    no_module_imports_a_section,
    a_file_is_short_or_listed,
    a_module_does_not_have_the_name_of_its_function,
    only_postprocess_decodes_heads_and_applies_nms_by_class,
    a_module_says_what_it_is,
    sections_are_named_in_layers_alone,
    only_the_command_line_prints,
    input_is_not_checked_by_assert,
    nothing_is_caught_or_imported_wholesale,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Callable[[pathlib.Path], Iterator[str]]) -> None:
    broken = [f"{named(path)}: {how}" for path in modules() for how in rule(path)]
    assert not broken, "\n".join(broken)
