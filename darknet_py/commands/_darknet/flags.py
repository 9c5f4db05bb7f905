"""The flags of Darknet's command lines: those of AlexeyAB's, pjreddie's and hank-ai's fork in one table.

A flag stands anywhere in a line, and any function accepts it; ``Function.flags`` names those that a function uses.
Upper and lower case, dashes and underscores are one (``-dont_show``, ``--dont-show``), as in hank-ai's fork.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...images.limits import MAX_PIXELS

Kind = Literal["switch", "int", "float", "text", "count"]


@dataclass(frozen=True)
class Flag:
    """A flag.

    Attributes:
        name: its name, with the leading dash.
        kind: type of the value behind it; ``switch``: none; ``count``: an integer that may be left out.
        default: value without the flag.
        help: what it does.
    """

    name: str
    kind: Kind
    default: bool | int | float | str | None
    help: str

    @property
    def attribute(self) -> str:
        """Name of the parsed value."""
        return self.name[1:]


WINDOW = "no window is opened"
_FORK = "of another fork"
_NIGHTMARE = "of nightmare"

_TABLE: tuple[tuple[str, Kind, bool | int | float | str | None, str], ...] = (
    # which device
    ("-i", "int", None, "GPU number; -1: the CPU (default: CUDA if available, then MPS)"),
    ("-nogpu", "switch", False, "run on the CPU"),
    ("-gpus", "text", None, "train on several GPUs, for example 0,1; they share every batch"),
    ("-plugin", "text", None, "module or .py file that defines sections of the cfg; not a flag of Darknet"),
    ("-cuda_debug_sync", "switch", False, "debugging of CUDA"),
    # detections
    ("-thresh", "float", 0.25, "score threshold"),
    ("-hier", "float", 0.5, "for class trees, the probability above which a child class is preferred to its parent"),
    ("-nms", "float", 0.45, "IoU threshold of NMS"),
    ("-iou_thresh", "float", 0.5, "IoU at which a detection counts as correct"),
    ("-points", "int", 0, "average precision over N recalls; 0: area under the curve"),
    ("-letter_box", "switch", False, "keep the aspect ratio of images"),
    ("-ext_output", "switch", False, "also print the coordinates of the boxes"),
    ("-save_labels", "switch", False, "write a label file next to each image"),
    ("-out", "text", None, "output file or prefix"),
    # videos
    ("-c", "int", 0, "camera number"),
    ("-out_filename", "text", None, "write the video with boxes: .avi, .mp4, .mkv or .mov"),
    ("-prefix", "text", None, "write the frames with boxes to PREFIX_00000001.jpg, ..."),
    ("-json_file_output", "text", None, "write JSON, one object per frame"),
    ("-dontdraw_bbox", "switch", False, "write frames without boxes"),
    ("-time_limit_sec", "int", 0, "stop after N seconds; 0: never"),
    ("-json_port", "int", None, "port at which detector demo serves its detections as JSON"),
    ("-mjpeg_port", "int", None, "port at which detector demo serves its frames as MJPEG"),
    ("-http_post_host", "text", None, "HOST[:PORT]/PATH to which detector demo posts the objects of each frame"),
    ("-avgframes", "int", 3, "has no effect in Darknet either"),
    ("-avg", "int", 3, _FORK),
    ("-s", "int", 0, WINDOW),
    ("-fps", "int", 0, "frames per second of a camera"),
    ("-w", "int", 0, "width of a camera's frames"),
    ("-h", "int", 0, "height of a camera's frames"),
    # training
    ("-clear", "switch", False, "start at iteration 0"),
    ("-map", "switch", False, "compute mAP during training and keep the best weights"),
    ("-mAP_epochs", "float", 4.0, "epochs between evaluations"),
    ("-topk", "count", None, "compute the top-k accuracy; k (default: top= of DATA)"),
    ("-chart", "text", None, "file of the loss chart (default: chart_NAME.png)"),
    ("-save_weights", "int", 0, "iterations between numbered files"),
    ("-dontuse_opencv", "switch", False, "read images without OpenCV"),
    ("-show_imgs", "switch", False, WINDOW),
    # anchors
    ("-num_of_clusters", "int", 5, "number of anchors"),
    ("-width", "int", -1, "input width of the network in pixels"),
    ("-height", "int", -1, "input height of the network in pixels"),
    ("-max_pixels", "int", MAX_PIXELS, "refuse image files with more pixels; not a flag of Darknet"),
    # windows and timing
    ("-dont_show", "switch", False, WINDOW),
    ("-show", "switch", False, WINDOW),
    ("-fullscreen", "switch", False, WINDOW),
    ("-display", "switch", False, WINDOW),
    ("-benchmark", "switch", False, "see darknet-py benchmark"),
    ("-benchmark_layers", "switch", False, "see darknet-py benchmark"),
    # classifiers and language models
    ("-t", "int", 0, "number of classes to print"),
    ("-file", "text", "data/shakespeare.txt", "text to train on"),
    ("-seed", "text", "\n\n", "text to continue"),
    ("-len", "int", 1000, "characters to generate"),
    ("-temp", "float", 0.7, "sampling temperature"),
    ("-srand", "int", 0, "random seed"),
    ("-tokenized", "switch", False, "the text is a list of tokens"),
    ("-tokens", "text", None, "file of tokens"),
    # commands that have no counterpart here
    ("-multi", "switch", False, "of go"),
    ("-anon", "switch", False, "of go"),
    ("-cpuct", "float", 5.0, "of go"),
    ("-resign", "int", 175, "of go"),
    ("-time", "float", 0.0, "of go"),
    ("-b", "int", 0, "of lsd"),
    ("-class", "int", 0, "of detector extract"),
    ("-k", "int", 2, "of tracking"),
    ("-range", "int", 1, _NIGHTMARE),
    ("-norm", "int", 1, _NIGHTMARE),
    ("-rounds", "int", 1, _NIGHTMARE),
    ("-iters", "int", 10, _NIGHTMARE),
    ("-octaves", "int", 4, _NIGHTMARE),
    ("-zoom", "float", 1.0, _NIGHTMARE),
    ("-rate", "float", 0.04, _NIGHTMARE),
    ("-rotate", "float", 0.0, _NIGHTMARE),
    ("-momentum", "float", 0.9, _NIGHTMARE),
    ("-lambda", "float", 0.01, _NIGHTMARE),
    ("-reconstruct", "switch", False, _NIGHTMARE),
    ("-smooth", "int", 1, _NIGHTMARE),
    # hank-ai's fork
    ("-verbose", "switch", False, _FORK),
    ("-show_details", "switch", False, _FORK),
    ("-trace", "switch", False, _FORK),
    ("-colour", "switch", False, _FORK),
    ("-nocolour", "switch", False, _FORK),
    ("-color", "switch", False, _FORK),
    ("-nocolor", "switch", False, _FORK),
    ("-log", "text", None, "2> FILE does this"),
    ("-fuse", "switch", False, "batch norm is fused in any case"),
    ("-dontfuse", "switch", False, _FORK),
    ("-nofuse", "switch", False, _FORK),
    ("-boxes", "switch", False, "see darknet-py export --heads"),
    ("-noboxes", "switch", False, "see darknet-py export --heads"),
    ("-fp16", "switch", False, "see darknet-py export --dtype"),
    ("-fp32", "switch", False, "see darknet-py export --dtype"),
    ("-noshow", "switch", False, WINDOW),
    ("-camera", "int", 0, "camera number"),
    ("-threshold", "float", 0.25, "score threshold"),
    ("-nms_thresh", "float", 0.45, "IoU threshold of NMS"),
    ("-random", "switch", False, "order of the images"),
    ("-heatmaps", "switch", False, WINDOW),
    ("-heatmap", "switch", False, WINDOW),
    ("-skip_classes", "text", None, "see darknet-py detect --classes"),
)
_SYNONYMS = {"-threshold": "-thresh", "-camera": "-c", "-nms_thresh": "-nms", "-noshow": "-dont_show"}

COMMON = ("-i", "-nogpu", "-plugin")  # used by every function that runs a network

FLAGS = {name: Flag(name, kind, default, text) for name, kind, default, text in _TABLE}


def normalise(word: str) -> str:
    """Return a flag's name without dashes and underscores, in lower case."""
    return word.lower().replace("-", "").replace("_", "")


_BY_WORD = {normalise(name): FLAGS[_SYNONYMS.get(name, name)] for name in FLAGS}


def find_flag(word: str) -> Flag | None:
    """Return the flag that a word names, or None. A number such as ``-1`` is not a flag."""
    return _BY_WORD.get(normalise(word)) if word.startswith("-") and word.strip("-") else None
