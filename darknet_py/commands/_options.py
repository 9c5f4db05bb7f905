"""Options that several verbs have: one name, one meaning, defined once.

A verb adds them with ``add(parser, "--conf", default=0.25)`` and describes what is specific to it in ``note``.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from ..cfg import Dialect

_Spec = dict[str, Any]

NAME = "a name of the catalogue (see: darknet-py fetch --list) or hf://owner/repo"
_INPUT: _Spec = {"dest": "size", "type": int, "nargs": 2, "metavar": ("WIDTH", "HEIGHT")}
FORMATS = ("darknet", "ultralytics", "coco", "voc", "cvat", "labelme", "label-studio")
DATA = "a .data file, list or folder of images, data.yaml, COCO or Label Studio json, CVAT xml, VOC or LabelMe folder"
_PROTOCOLS = ("darknet", "voc07", "coco")  # evaluation.scores.Protocol
_NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms", "soft-linear", "soft-gaussian", "wbf")  # boxes.NMSKind
_ENGINES = (
    "torch, plain (layer by layer), graph (CUDA's or oneDNN's), openvino, onnxruntime, ncnn, auto (the fastest "
    "installed), or an exported file of this network"
)


class SplitCommas(argparse.Action):
    """Stores the words of an option, split at commas: ``person,3 dog``."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        """Store the list."""
        setattr(namespace, self.dest, [part for word in values for part in word.split(",") if part])


SHARED: dict[str, _Spec] = {
    # which network, and how it is read
    "--imgsz/--size": _INPUT | {"help": "input size of the network in pixels, instead of the cfg's"},
    "--dialect": {"choices": [d.value for d in Dialect], "help": "fork of Darknet to follow where the forks differ"},
    "--strict": {"action": "store_true", "help": "treat options without effect as errors"},
    "--max-bytes": {
        "type": int,
        "metavar": "N",
        "help": "memory that the network may need in bytes (default: the machine's)",
    },
    "--allow-paths": {
        "action": "store_true",
        "help": "let tree= and map= name files outside the cfg's folder, its parent and the working directory",
    },
    "--plugin": {
        "action": "append",
        "nargs": None,
        "metavar": "MODULE",
        "help": "module or .py file that defines sections of the cfg which Darknet does not have; can be repeated",
    },
    "--fetch": {"action": "store_true", "help": "download the catalogue's weights for a cfg given without weights"},
    "--upto": {"type": int, "metavar": "N", "help": "load only the first N layers of the weights file (a backbone)"},
    "--allow-non-finite": {"action": "store_true", "help": "accept weights that contain NaN or Inf"},
    # where and how it runs
    "--device": {
        "metavar": "DEVICE",
        "help": "cpu, cuda, cuda:1, mps, ..., or auto: CUDA if available, else MPS, else the CPU",
    },
    "--engine": {"metavar": "ENGINE", "help": f"inference engine: {_ENGINES}"},
    "--dtype": {"choices": ["fp32", "bf16", "fp16"], "help": "floating-point type to compute in"},
    "--verbose": {
        "action": "store_true",
        "help": "say on stderr which engine auto takes, how long each takes, and why others are left out",
    },
    "--batch": {"type": int, "metavar": "N", "help": "images per forward pass"},
    "--max-batch": {"type": int, "metavar": "N", "help": "images per forward pass at most"},
    "--workers": {"type": int, "metavar": "N", "help": "threads that read images"},
    "--threads": {"type": int, "metavar": "N", "help": "CPU threads"},
    "--repeats": {"type": int, "metavar": "N", "help": "runs of which the median time is taken"},
    "--seed": {"type": int, "metavar": "N", "help": "random seed"},
    # images and detections
    "--letterbox": {"action": argparse.BooleanOptionalAction, "help": "keep the aspect ratio of images"},
    "--exif": {"action": argparse.BooleanOptionalAction, "help": "rotate images as their EXIF orientation says"},
    "--max-pixels": {"type": int, "metavar": "N", "help": "refuse image files with more pixels"},
    "--conf": {"type": float, "metavar": "P", "help": "score threshold"},
    "--class-conf": {
        "nargs": "+",
        "action": SplitCommas,
        "default": (),
        "metavar": "CLASS=P",
        "help": "other score thresholds for some classes, for example person=0.5",
    },
    "--nms": {"type": float, "metavar": "IOU", "help": "IoU threshold of NMS; 0 disables it"},
    "--nms-kind": {
        "choices": _NMS_KINDS,
        "metavar": "KIND",
        "help": f"{', '.join(_NMS_KINDS)} (default: that of the cfg); soft-NMS and weighted boxes fusion (wbf) are not "
        "in Darknet",
    },
    "--agnostic-nms": {
        "action": "store_true",
        "help": "apply NMS to boxes of different classes, too; one class per box",
    },
    "--max-det": {"type": int, "metavar": "N", "help": "most detections of an image; 0: all"},
    "--hier": {
        "type": float,
        "metavar": "P",
        "help": "for class trees, the probability above which a child class is preferred to its parent",
    },
    "--match-iou": {"type": float, "metavar": "IOU", "help": "IoU at which a detection counts as correct"},
    "--min-score": {"type": float, "metavar": "P", "help": "lowest score of the detections that mAP is computed from"},
    "--classes": {
        "nargs": "+",
        "action": SplitCommas,
        "metavar": "CLASS",
        "help": "report only these classes, by name or number",
    },
    "--skip-classes": {
        "nargs": "+",
        "action": SplitCommas,
        "default": (),
        "metavar": "CLASS",
        "help": "do not report these classes, by name or number",
    },
    "--names": {"metavar": "FILE", "help": "file of class names, one per line"},
    "--data": {"metavar": "DATA", "help": "data set to compute mAP on"},
    "--subset": {"metavar": "NAME", "help": "list of DATA to use: train, valid or test"},
    "--map-classes": {
        "metavar": "MAP",
        "help": "classes of DATA as the network's: FROM=TO,FROM=TO (names or numbers), a file of such lines, "
        "or `names` for classes of equal names; others are left out",
    },
    "--protocol": {
        "choices": _PROTOCOLS,
        "help": "darknet: as `detector map`; voc07: 11 recalls; coco: mean over IoU 0.50 to 0.95",
    },
    "--polygons": {"action": "store_true", "help": "take the bounding boxes of polygons in label files"},
    # training
    "--map-every": {"type": int, "metavar": "N", "help": "iterations between evaluations"},
    "--amp": {
        "choices": ("bf16", "fp16", "off"),
        "help": "mixed precision; fp16 also scales the loss (default: off)",
    },
    # data sets
    "--to": {"choices": FORMATS, "help": "format to write"},
    "--link": {"action": "store_true", "help": "make symbolic links to images instead of copies"},
    "--valid-fraction": {"type": float, "metavar": "P", "help": "fraction of the images for validation"},
    "--per-class": {"action": "store_true", "help": "for a data set: print the number of objects per class"},
    # output
    "-o/--output": {"help": "output:"},
    "--json": {"metavar": "FILE", "help": "write the results as JSON; -: to stdout, instead of the text"},
    "--jsonl": {
        "metavar": "FILE",
        "help": "write one line of JSON per image or frame; -: to stdout, instead of the text",
    },
    "--darknet-json": {"metavar": "FILE", "help": "write JSON in the format of Darknet's -out"},
    "--chart": {"metavar": "FILE", "help": "PNG file of the chart"},
    "--quiet": {"action": "store_true", "help": "print no progress"},
}


def add(
    parser: argparse._ActionsContainer, names: str, *, default: Any = None, note: str = "", metavar: str | None = None
) -> None:
    """Add a shared option to a parser or an argument group.

    Args:
        parser: where to add it.
        names: key of ``SHARED``.
        default: default value, shown in the help.
        note: what the option does in this verb beyond its shared meaning; it replaces the shown default.
        metavar: placeholder of the value, where it differs from the shared one.
    """
    spec = dict(SHARED[names])
    text = spec.pop("help")
    if note:
        text += f" {note}"
    elif default is not None:
        text += f" (default: {default:g})" if isinstance(default, float) else f" (default: {default})"
    if default is not None:
        spec["default"] = default
    if metavar is not None:
        spec["metavar"] = metavar
    parser.add_argument(*names.split("/"), help=text.replace("%", "%%"), **spec)


def add_model(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add MODEL, WEIGHTS and the options of ``add_network``, except those in ``without``."""
    add_model_files(parser)
    add_network(parser, without=without)


def add_model_files(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and WEIGHTS."""
    parser.add_argument("model", metavar="MODEL", help=f"a cfg file, a .pt or .safetensors checkpoint, or {NAME}")
    parser.add_argument(
        "weights", metavar="WEIGHTS", nargs="?", help="weights of a cfg (default: those of the catalogue)"
    )


def add_network(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add the options of how a network is read and where it runs, except those in ``without``."""
    group = parser.add_argument_group("network")
    defaults = {"--imgsz/--size": None, "--dialect": "alexeyab", "--device": "auto", "--strict": None, "--fetch": None}
    defaults |= {"--plugin": None}
    defaults |= {"--max-bytes": None, "--allow-paths": None, "--allow-non-finite": None}
    for names, default in defaults.items():
        if names not in without:
            add(group, names, default=default)


def add_engine(group: argparse._ActionsContainer, default: str = "auto") -> None:
    """Add the options of the inference engine and its precision."""
    add(group, "--engine", default=default)
    add(group, "--dtype", default="fp32")
    add(group, "--verbose")
