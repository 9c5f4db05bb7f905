"""Commands and functions of Darknet that have no counterpart here: each is answered with what takes its place."""

from __future__ import annotations

import argparse

from ...errors import DataError
from . import function

_CIFAR = "write a .data file with train=, valid= and labels=, and use darknet-py classifier {} DATA CFG WEIGHTS"
_GONE = "an experiment of Darknet's author with fixed paths; no part of this package"

ANSWERS = {
    "detector valid2": "the mean over an image and its mirror image; use darknet-py detector valid DATA CFG WEIGHTS",
    "detector draw": "an interactive program with windows",
    "detector extract": "use darknet-py detect CFG WEIGHTS VIDEO --classes CLASS --jsonl FILE for the boxes",
    "detector censor": "use darknet-py detect CFG WEIGHTS VIDEO --classes CLASS --jsonl FILE for the boxes",
    "classifier demo": "use darknet-py classify CFG WEIGHTS IMAGE ... for single frames",
    "classifier gun": _GONE,
    "classifier threat": _GONE,
    "classifier csv": "use darknet-py classifier test DATA CFG WEIGHTS, whose columns are separated by tabs",
    "classifier fout": "use darknet-py classify CFG WEIGHTS IMAGE --jsonl FILE",
    **{f"cifar {name}": _CIFAR.format("train") for name in ("train", "distill", "csvtrain")},
    **{f"cifar {name}": _CIFAR.format("valid") for name in ("test", "multi", "csv", "eval")},
    "cifar extract": "Python's pickle and Pillow write the images of the CIFAR-10 archive",
    "rnn vec": "read the state of the layers after a call of the network: darknet_py.load(CFG, WEIGHTS)",
    "rnn validtactic": "use darknet-py rnn valid CFG WEIGHTS",
    "rnn generatetactic": "use darknet-py rnn generate CFG WEIGHTS",
    "oneoff": "a conversion of one file (YOLO9000's) that leaves random weights in it; use darknet-py train --upto",
    "oneoff2": "loads a file at another layer; use darknet_py.load(CFG, WEIGHTS, upto=N)",
    "print": "use darknet_py.load(CFG, WEIGHTS)[N].weights",
    "mkimg": "use darknet-py visualize CFG WEIGHTS for the filters",
    "3d": "numpy and Pillow make a picture of the red channel of one image and the others of another",
    "nightmare": "DeepDream; write it with darknet_py.load and torch.autograd",
    "cfglayers": "use darknet-py info CFG",
    "version": "use darknet-py --version",
    "help": "use darknet-py --help",
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
