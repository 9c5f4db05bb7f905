"""Short searches of hyperparameters for tests, of a small detector."""

from __future__ import annotations

import pathlib
from typing import Any

import darknet_py as dk
from tests.helpers import synthetic_data

SPACE = """[net]
learning_rate = { low = 0.001, high = 0.05, log = true }
momentum = { low = 0.5, high = 0.95 }
[head]
iou_loss = { choices = ["ciou", "giou"] }
"""


def cfg(folder: pathlib.Path, **keys: Any) -> pathlib.Path:
    """A cfg with comments, of four iterations."""
    path = synthetic_data.cfg(folder, **{"max_batches": 4, "batch": 2, "burn_in": 0, **keys})
    path.write_text("# A small detector.\n" + path.read_text().replace("momentum=0.9\n", "momentum=0.9 # usual\n"))
    return path


def run(folder: pathlib.Path, data: pathlib.Path, trials: int, output: str = "out", **given: Any) -> dk.SearchResult:
    """Search in ``folder``, which has tiny.cfg and space.toml."""
    space = folder / "space.toml"
    if not space.exists():
        space.write_text(SPACE)
    options = dk.TrainOptions(**{"workers": 0, "map_every": 2, "seed": 5, **given.pop("options", {})})
    defaults: dict[str, Any] = {"population": 2, "space": space, "output": folder / output, "options": options}
    given = defaults | given
    return dk.evolve(folder / "tiny.cfg", data, given.pop("space"), trials=trials, **given)
