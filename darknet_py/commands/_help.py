"""Help that fits the terminal: paragraphs of a docstring are filled to its width."""

from __future__ import annotations

import argparse
import re
import textwrap


class HelpFormatter(argparse.HelpFormatter):
    """Fills each paragraph of a description; indented lines, which are command lines and lists, are kept.

    A line of these that is too long is continued in the next one, as in a shell.
    """

    def add_argument(self, action: argparse.Action) -> None:
        """Widen the first column for the names of verbs, whose indentation some versions of argparse leave out."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length = max(self._action_max_length, *(len(name) + 4 for name in action.choices))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = re.findall(r"^ .*|(?:^[^ \n].*\n?)+|^$", text, re.MULTILINE)
        filled = (_continue_line(block, width) if block[:1] == " " else textwrap.fill(block, width) for block in blocks)
        return textwrap.indent("\n".join(filled), indent)


def _continue_line(line: str, width: int) -> str:
    if len(line) <= width + 2:  # argparse leaves two columns free
        return line
    margin = " " * (len(line) - len(line.lstrip()) + 4)
    parts = textwrap.wrap(line, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)
    return " \\\n".join(parts)
