"""The documentation says what is so: generated parts, links, code, command lines, and the tests it names."""

from __future__ import annotations

import argparse
import ast
import functools
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from PIL import Image

import darknet_py
from darknet_py import cli
from tests.helpers import random_networks
from tests.helpers.layer_samples import SAMPLES
from tools import document_cfg

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "cfgs/*.md", "weights/*.md", "examples/*.md", "tests/golden/*.md")
    for path in ROOT.glob(pattern)
)
# The Python of these pages is executed, that of the others must compile.
RUN = ("README.md", "CONTRIBUTING.md", "docs/python.md", "docs/training.md")

each_page = pytest.mark.parametrize("page", PAGES)


class Block(NamedTuple):
    """A fenced or indented block of a page."""

    page: str
    line: int
    head: str
    code: str


@functools.cache
def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    head: str | None = None
    code: list[str] = []
    for number, line in enumerate(text(page).splitlines(), start=1):
        if line.startswith("```"):
            if head is not None:
                yield Block(page, number - len(code), head, "\n".join(code))
            head, code = (line[3:], []) if head is None else (None, [])
        elif head is not None:
            code.append(line)
        elif line.startswith("    "):
            yield Block(page, number, "", line.strip())
    assert head is None, f"{page}: a block without an end"


def python_blocks(*pages: str) -> list[Block]:
    return [block for page in pages for block in blocks(page) if block.head.startswith("python")]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.mark.parametrize("page", document_cfg.BLOCKS)
def test_generated_parts_are_up_to_date(page: str) -> None:
    assert document_cfg.regenerate(page, text(page)) == text(page), "run python tools/document_cfg.py"


def test_every_section_that_stores_something_has_its_order_in_the_page() -> None:
    storing = {sample.kind.names[0] for sample in SAMPLES if any(sample.build().stored())}
    shown = set(re.findall(r"^\| `\[(\w+)\]`", text("docs/weights.md"), re.MULTILINE))
    assert shown == storing


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@each_page
def test_links_lead_somewhere(page: str) -> None:
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page}: {target}"


@pytest.mark.parametrize("block", python_blocks(*PAGES), ids=named)
def test_python_compiles_and_what_is_not_run_says_why(block: Block) -> None:
    ast.parse(block.code)
    assert re.fullmatch(r"python( skip: \S.*)?", block.head), f"{named(block)}: ```{block.head}"


@pytest.mark.parametrize("block", [b for b in python_blocks(*RUN) if b.head == "python"], ids=named)
def test_python_runs(block: Block, tmp_path: pathlib.Path) -> None:
    net = random_networks.network(
        "[net]\nwidth=64\nheight=64\nchannels=3\n[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
        "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nclasses=2\nnum=1\nanchors=20,20\n",
        path="my.cfg",
    )
    (tmp_path / "my.cfg").write_text(net.config.text)
    (tmp_path / "my.names").write_text("cat\ndog\n")
    darknet_py.save_weights(net, tmp_path / "my.weights")
    Image.new("RGB", (40, 30), (90, 120, 60)).save(tmp_path / "photo.jpg")
    (tmp_path / "block.py").write_text(block.code)
    command = [sys.executable, "-W", "error::UserWarning", "block.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def command_lines() -> list[tuple[str, str]]:
    """Every line of a block that calls darknet-py, without the prompt and what follows a pipe."""
    found = []
    for block in (block for page in PAGES for block in blocks(page)):
        for line in block.code.splitlines():
            call = re.search(r"^(?:\$ )?(?:.* && )?darknet-py (.*)", line)
            if call:
                found.append((named(block), call[1].split(" | ")[0]))
    return found


@pytest.mark.parametrize(("place", "line"), command_lines())
def test_command_lines_are_understood(place: str, line: str) -> None:
    cli.build_parser().parse_args(shlex.split(line, comments=True))


def option_names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of a parser and of its verbs."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from option_names(verb)


# Of torchrun, hank-ai's Darknet, trtexec, tools/fuzz.py and tools/export_table.py.
OTHER_OPTIONS = {"--max-restarts", "--dont-show", "--minShapes", "--seconds", "--only"}


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_options_in_sentences_exist(page: str) -> None:
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    shown = set(re.findall(r"`(--[a-z][\w-]*)", prose))
    assert shown.difference(OTHER_OPTIONS, option_names(cli.build_parser())) == set()


def test_api_page_has_every_public_name() -> None:
    shown = re.findall(r"^::: darknet_py\.(\w+)$", text("docs/api.md"), re.MULTILINE)
    assert sorted(shown) == sorted(set(darknet_py.__all__) - {"__version__"})


def test_every_verb_is_shown() -> None:
    shown = {line.split()[0] for _, line in command_lines()}
    assert {"detect", "detector", "info", "check", "partial", "fetch"} <= shown


def test_ci_runs_the_line_of_the_readme() -> None:
    script = text(".ci/run")
    asked = re.search(r"^line=\$\((.*)\)$", script, re.MULTILINE)
    assert asked is not None
    done = subprocess.run(["bash", "-c", asked[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    line = done.stdout.strip()
    assert line.endswith("-e '.[dev]' && python -m pytest --cov")
    assert line in [block.code for block in blocks("README.md")]
    assert line in [block.code for block in blocks("CONTRIBUTING.md")]
    assert "pip install" not in script
    assert "pytest" not in script


def test_tests_that_the_register_names_are_there() -> None:
    verdict = re.compile(r"\| (faithful|intended|switch) \|")
    rows = [line for line in text("docs/oddities.md").splitlines() if verdict.search(line)]
    assert len(rows) > 60
    for row in rows:
        assert re.search(r"\| (`([a-z]+/)*test_.*`|-) \|$", row), row
    for file, case, name in re.findall(r"`((?:[a-z]+/)*test_\w+\.py)(?:\[(\w+)\]|::(\w+))`", text("docs/oddities.md")):
        if case:
            assert (ROOT / "tests" / "golden" / "cases" / f"{case}.cfg").exists(), case
        else:
            assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{name}"
