"""``export --triton`` and ``--deepstream``: an ONNX file and the configuration of the program that runs it."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from . import _options

if TYPE_CHECKING:
    from .._typing import StrPath
    from ..network import Network


def add(group: argparse._ActionsContainer, places: argparse._ActionsContainer) -> None:
    """Add the options to a group; ``places`` has the options of which one says where to write."""
    places.add_argument("--triton", metavar="DIR", help="write into a model repository of Triton Inference Server")
    places.add_argument(
        "--deepstream", metavar="DIR", help="write a folder for DeepStream's Gst-nvinfer: file, configuration, labels"
    )
    _options.add(group, "--max-batch", note="(with --triton, default: 8; with --deepstream, default: 1)")


def check(args: argparse.Namespace) -> bool:
    """Return whether a folder is to be written. Raises DataError for options that do not fit together."""
    given = "--triton" if args.triton else "--deepstream"
    if not (args.triton or args.deepstream):
        if args.max_batch is not None:
            raise DataError("--max-batch: expected --triton or --deepstream with it")
        return False
    if args.format not in (None, "onnx"):
        raise DataError(f"{given}: expected --format onnx, got {args.format}")
    if args.int8:
        raise DataError(f"{given}: expected no --int8: both write float files")
    if args.deepstream and args.heads not in (None, "boxes"):
        raise DataError(f"--deepstream: expected --heads boxes, got {args.heads}")
    if args.deepstream and args.dynamic not in (None, "batch"):
        raise DataError(f"--deepstream: Gst-nvinfer runs one image size: expected --dynamic batch, got {args.dynamic}")
    return True


def export_folder(args: argparse.Namespace, network: Network, cfg: StrPath, options: dict[str, Any]) -> int:
    """Write the folder and print the result.

    Args:
        args: The arguments.
        network: The network.
        cfg: Its cfg or checkpoint, whose name the model gets.
        options: Arguments of ``export``; the folders have their own defaults of ``heads`` and ``dynamic``.
    """
    name = pathlib.Path(cfg).stem
    dynamic = options.pop("dynamic")
    heads = options.pop("heads") if args.heads else None
    options.pop("heads", None)
    if args.triton:
        from ..exporters.triton import export_triton

        print(
            export_triton(network, args.triton, name, heads=heads, dynamic=dynamic, max_batch=args.max_batch, **options)
        )
    else:
        from ..exporters.deepstream import export_deepstream

        print(export_deepstream(network, args.deepstream, name, max_batch=args.max_batch, **options))
    return 0
