"""What can go wrong, as a tree.

    DarknetError(ValueError)
      ConfigError     my.cfg:6: [convolutional] size: expected an integer, got 'three'
      WeightsError    x.weights: ends in layer 2 [convolutional] weights: 18432 bytes wanted, 2484 left
      DataError       labels/0001.txt:3: class 80 but the network has 80 classes (0..79)

    UnusedOptionWarning(UserWarning)    text of a cfg that changes nothing; an error where ``strict``

Every message names the place (file, line, layer), what was expected and what was found. Whoever
raises states the fact; the caller that knows the place adds it, once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DarknetError(ValueError):
    """Anything that this package refuses."""


class ConfigError(DarknetError):
    """A cfg that cannot be read or that describes no possible network."""


class WeightsError(DarknetError):
    """A weights file that does not fit its network, or is none."""


class DataError(DarknetError):
    """An image, label, list or names file that cannot be used."""


class UnusedOptionWarning(UserWarning):
    """Text of a cfg that Darknet tolerates and that has no effect."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the choice nearest to ``word``, or an empty string."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
