"""Hints of what to install name an extra that exists, and that brings the package that is missing."""

from __future__ import annotations

import ast
import pathlib
import re
import tomllib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
HINT = re.compile(r"darknet-torch\[([a-z,]+)\]")
DISTRIBUTIONS = {
    "ai_edge_litert": "ai-edge-litert",
    "torch": "tensorboard",  # torch.utils.tensorboard imports it
    "huggingface_hub": "huggingface-hub",
    "mlflow": "mlflow-skinny",
    "prometheus_client": "prometheus-client",
}
# Packages that no extra has: another implementation of the same, an older version, a companion of a recipe.
OTHERS = ("faster-coco-eval", "opencv-python-headless<5", "psycopg", "supervision trackers")


def sources() -> list[pathlib.Path]:
    folders = (ROOT / "darknet_py", ROOT / "tests", ROOT / "docs", ROOT / "examples")
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md")]


def names(extra: str) -> set[str]:
    """The distributions of an extra."""
    return {re.split(r"[\[<>=]", requirement)[0] for requirement in EXTRAS[extra]}


def test_every_extra_of_a_hint_exists() -> None:
    hints = {extra for path in sources() for text in HINT.findall(path.read_text("utf-8")) for extra in text.split(",")}
    assert {"export", "eval", "video", "plots", "log", "safetensors", "openvino", "completion"} <= hints
    assert hints <= EXTRAS.keys()


def guarded_imports() -> Iterator[tuple[str, str]]:
    """Modules that are imported in a ``try``, with the extra that its handler names."""
    for path in (ROOT / "darknet_py").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Try):
                handlers = " ".join(ast.unparse(handler) for handler in node.handlers)
                for extra in HINT.findall(handlers):
                    for statement in node.body:
                        if isinstance(statement, ast.Import):
                            yield from ((alias.name.partition(".")[0], extra) for alias in statement.names)
                        elif isinstance(statement, ast.ImportFrom):
                            yield (statement.module or "").partition(".")[0], extra


IMPORTS = sorted(set(guarded_imports()))


@pytest.mark.parametrize(("module", "extra"), IMPORTS)
def test_the_extra_brings_the_module(module: str, extra: str) -> None:
    assert DISTRIBUTIONS.get(module, module) in names(extra)


def test_imports_of_optional_packages_are_found() -> None:
    assert {"matplotlib", "onnx", "onnxscript", "onnxruntime", "safetensors", "shtab", "supervision"} <= {
        module for module, _ in IMPORTS
    }


def test_lines_of_single_packages_are_few() -> None:
    pattern = re.compile(r"pip install '?(?!-|\.|darknet-torch|\{)([\w<-]+(?: \w+)*)")
    texts = [path.read_text("utf-8") for path in (ROOT / "darknet_py").rglob("*.py")]
    assert {line for text in texts for line in pattern.findall(text)} <= set(OTHERS)
