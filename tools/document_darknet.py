"""The tables of docs/darknet.md: functions, flags and lines of Darknet's command line. See ``document_cfg``."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from darknet_py.commands import _darknet
from darknet_py.commands._darknet.arguments import split_line, usage
from darknet_py.commands._darknet.flags import COMMON, FLAGS, find_flag
from darknet_py.commands._darknet.unsupported import ANSWERS

ROOT = pathlib.Path(__file__).resolve().parents[1]

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # head and rows


def functions() -> Table:
    """Format the table of the functions of Darknet's command line, with the flags that each uses."""
    rows = []
    for name, function in _darknet.functions().items():
        flags = " ".join(f"`{flag}`" for flag in function.flags)
        rows.append((f"`{name} {usage(function.files)}".rstrip() + "`", function.summary, flags))
    return ("line", "what it does", "flags"), rows


def flags() -> Table:
    """Format the table of the flags of all forks."""
    users = {name: [f for f, one in _darknet.functions().items() if name in one.flags] for name in FLAGS}
    rows = [
        (
            f"`{flag.name}`",
            flag.help,
            "all functions that run a network"
            if name in COMMON
            else ", ".join(users[name]) or "accepted, without effect",
        )
        for name, flag in FLAGS.items()
        if find_flag(name) is flag
    ]
    return ("flag", "meaning", "used by"), rows


def lines() -> Table:
    """Format the table of the forks' own lines, and what happens here."""
    rows = []
    for text in (ROOT / "tests" / "commands" / "darknet_lines.txt").read_text(encoding="utf-8").splitlines():
        fork, _, line = text.partition("\t")
        words = line.partition(" < ")[0].split()
        parsed = split_line(words)
        if not _darknet.is_darknets(parsed, words):
            answer = f"darknet-py's own `{words[0]}`"
        else:
            function, arguments = _darknet.understand(parsed)
            notes = [note.replace(f" in {function.name}", "") for note in arguments.notes]
            answer = function.summary if function.name in ANSWERS else "; ".join(["as Darknet", *notes])
        rows.append((fork, f"`{line}`", answer))
    return ("fork", "line", "here"), rows
