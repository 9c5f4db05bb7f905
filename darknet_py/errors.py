"""The exceptions and warnings of the package.

    DarknetError(ValueError)
      ConfigError     my.cfg:6: [convolutional] size: expected an integer, got 'three'
      WeightsError    x.weights: ends in layer 2 [convolutional] weights: expected 18432 bytes, found 2484
        CheckpointError   x.pt: entry version[2]: expected an integer below 2**64, found a value of type str
      DataError       labels/0001.txt:3: class 80, but the network has 80 classes (0..79)

    UnusedOptionWarning(UserWarning)    an option of a cfg that has no effect; an error if ``strict``
    WeightsWarning(UserWarning)         weights that contain NaN or Inf, or random weights in use

A message names the place (file, line, layer), what was expected and what was found. A function that does not know the
place raises ValueError; the caller that knows it adds it. As text, all escape control characters.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from .messages import escape_controls

# Names of PyTorch and of forks that are similar to those of other things; empty: there is none of that meaning.
_MEANINGS = {
    "hardtanh": "hardtan",
    "hardsigmoid": "hsigmoid",
    "hardswish": "hswish",
    "hardmish": "hard_mish",
    "leakyrelu": "leaky",
    "leaky_relu": "leaky",
    "lrelu": "leaky",
    "identity": "linear",
    **dict.fromkeys(("prelu", "rrelu", "crelu", "celu", "glu", "frelu", "softsign", "softmax2d"), ""),
    **dict.fromkeys(("metaaconc", "aconc", "softshrink", "hardshrink", "tanhshrink", "threshold"), ""),
}
_LONGEST = 60  # characters of a file that a message quotes


class DarknetError(ValueError):
    """Base class of the errors of this package.

    Attributes:
        is_reported: whether another process of the same run has raised it too, and reports it.
    """

    is_reported = False

    def __str__(self) -> str:
        return escape_controls(super().__str__())


class ConfigError(DarknetError):
    """A cfg that cannot be read, or whose network cannot be built."""


class WeightsError(DarknetError):
    """A weights file that cannot be read, or does not fit its network."""


class CheckpointError(WeightsError):
    """A .pt or .safetensors file whose content is not that of a checkpoint, with the entry that is not."""


class DataError(DarknetError):
    """An image, label, list or names file that cannot be used."""


class _EscapedWarning(UserWarning):
    def __str__(self) -> str:
        return escape_controls(super().__str__())


class UnusedOptionWarning(_EscapedWarning):
    """Text of a cfg that has no effect, such as an unknown key."""


class WeightsWarning(_EscapedWarning):
    """Weights that give no meaningful results: they contain NaN or Inf, or are the random initial ones."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` with the choice most similar to ``word``, or an empty string.

    For words of other programs whose meaning is known it is the choice of that meaning, however it is spelt.
    """
    known = list(choices)
    if (meant := _MEANINGS.get(word.lower())) is not None:
        return f" (did you mean {meant!r}?)" if meant in known else ""
    near = difflib.get_close_matches(word, known, n=1) if len(word) <= _LONGEST else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def list_first(items: Sequence[object], limit: int) -> str:
    """Return the first ``limit`` items as ``"a, b and 3 more"``."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def shorten(text: str) -> str:
    """Return text in quotes for a message, cut where it is long."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
