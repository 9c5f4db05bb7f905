"""An option has the same name, type and meaning in all verbs."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator

import pytest

from darknet_py import cli
from darknet_py.commands._options import SHARED
from darknet_py.data.formats import FORMATS

DARKNET = {"classifier", "detector", "rnn"}  # Darknet's command lines
# Other spellings of the shared options, and of words that Darknet's command lines have.
FORBIDDEN = {
    *("--iou", "--iou-thresh", "--iou-threshold", "--nms-iou", "--overlap"),
    *("--thresh", "--threshold", "--least", "--confidence"),
    *("--out", "--outdir", "--target", "--img-size", "--input-size", "--batch-size", "--gpu", "--class-names"),
}


def options() -> list[tuple[str, argparse.Action]]:
    """Return each option of each verb, except Darknet's commands."""
    return [
        (verb, action)
        for verb, parser in subcommands(cli.build_parser())
        for action in parser._actions
        if action.option_strings and action.dest != "help"
    ]


def subcommands(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each verb, and those below it, with their parsers."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                if name not in DARKNET:
                    yield f"{prefix}{name}", sub
                    yield from subcommands(sub, f"{prefix}{name} ")


OPTIONS = options()


def spelling(action: argparse.Action) -> str:
    return "/".join(name for name in action.option_strings if not name.startswith("--no-") or name == "--no-map")


@pytest.mark.parametrize(
    ("verb", "action"), OPTIONS, ids=[f"{verb}{action.option_strings[-1]}" for verb, action in OPTIONS]
)
def test_a_shared_option_has_one_spelling_type_and_meaning(verb: str, action: argparse.Action) -> None:
    assert not FORBIDDEN & set(action.option_strings)
    spec = SHARED.get(spelling(action))
    if spec is None:
        names = {name for shared in SHARED for name in shared.split("/")}
        assert not names & set(action.option_strings), "another spelling of a shared option"
        return
    assert action.help is not None
    assert action.help.startswith(spec["help"])
    assert action.type == spec.get("type")
    assert action.nargs == spec.get("nargs", 0 if "action" in spec else None)
    assert action.choices == spec.get("choices")
    assert action.dest == spec.get("dest", spelling(action).split("/")[-1].lstrip("-").replace("-", "_"))


def test_an_option_of_two_verbs_is_shared() -> None:
    verbs = defaultdict(set)
    for verb, action in OPTIONS:
        if spelling(action) not in SHARED:
            for name in action.option_strings:
                verbs[name].add(verb)
    assert {name: users for name, users in verbs.items() if len(users) > 1} == {}


def test_every_shared_option_is_used() -> None:
    assert {spelling(action) for _, action in OPTIONS} >= SHARED.keys()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("detect m s", "--conf --nms --imgsz --device --batch --names --classes --json --darknet-json"),
        ("evaluate m d", "--conf --nms --match-iou --min-score --imgsz --device --batch --names --json"),
        ("check m", "--names --per-class --imgsz"),
        ("train d m", "-o --output --device --imgsz"),
        ("export m", "-o --output --conf --nms --names"),
        ("anchors d m", "-o --output --imgsz --subset"),
        ("compare a b", "--conf --nms --imgsz --json"),
        ("benchmark m", "--batch --json --imgsz"),
        ("classify m w", "--json --jsonl --batch --names"),
    ],
)
def test_verbs_have_the_options_of_the_vocabulary(line: str, names: str) -> None:
    verb = line.split()[0]
    assert set(names.split()) <= {name for other, action in OPTIONS if other == verb for name in action.option_strings}


def test_size_is_an_alias_of_imgsz() -> None:
    for line in (["info", "m", "--imgsz", "320", "256"], ["info", "m", "--size", "320", "256"]):
        assert cli.build_parser().parse_args(line).size == [320, 256]


@pytest.mark.parametrize("verb", sorted(cli.verbs()))
def test_help_of_every_verb_is_a_sentence(verb: str) -> None:
    first = (cli.verbs()[verb].__doc__ or "").partition("\n")[0]
    assert first[0].isupper()
    assert first.endswith((".", "5", "``.", "TEXT", "0.25")) or ":" in first
    assert len(first) <= 120


def test_the_formats_of_the_command_line_are_those_that_are_written() -> None:
    assert set(SHARED["--to"]["choices"]) == FORMATS.keys()
