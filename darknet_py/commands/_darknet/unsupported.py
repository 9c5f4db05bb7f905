"""Commands and functions of Darknet that have no counterpart here: each is answered with what takes its place."""

from __future__ import annotations

import argparse

from ...errors import DataError
from . import function

_GONE = "an experiment of Darknet's author with fixed paths; no part of this package"

ANSWERS = {
    "detector draw": "its box is drawn with a mouse; write the loop with a loss of docs/pytorch.md and "
    "torch.autograd.grad(loss, image)",
    "detector extract": "use darknet-py detect CFG WEIGHTS VIDEO --classes CLASS --jsonl FILE for the boxes",
    "detector censor": "use darknet-py detect CFG WEIGHTS VIDEO --classes CLASS --jsonl FILE for the boxes",
    "classifier gun": _GONE,
    "classifier threat": _GONE,
    "mkimg": "use darknet-py visualize CFG WEIGHTS for the filters",
    "3d": "numpy and Pillow make a picture of the red channel of one image and the others of another",
    "nightmare": "DeepDream; write it with darknet_py.load and torch.autograd",
    "cfglayers": "use darknet-py info CFG",
    **{f"compare {name}": _GONE for name in ("train", "valid", "sort", "battle")},
    **dict.fromkeys(
        (
            *("art", "attention", "captcha", "dice", "go", "instance-segmenter", "isegmenter", "lsd", "regressor"),
            *("segmenter", "super", "swag", "tag", "vid", "voxel", "writing"),
        ),
        _GONE,
    ),
}


def _add(name: str, answer: str) -> None:
    @function(name, "words*")
    def run(args: argparse.Namespace) -> int:
        raise DataError(f"{name}: not supported: {answer}")

    run.__doc__ = f"Not supported: {answer}."


for _name, _answer in ANSWERS.items():
    _add(_name, _answer)
