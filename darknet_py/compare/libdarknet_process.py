"""Run a C Darknet library in a separate process, because it exits the process on bad files.

This program takes the path of a job (JSON, see ``libdarknet.py``) and imports nothing from the package. It depends on
the layout of one C struct only, the start of ``detection``; the other structs differ between forks.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import sys
from typing import Any

import numpy as np

_FLOATS = ctypes.POINTER(ctypes.c_float)
_STRIDES = (48, 64, 88)  # sizeof(detection): pjreddie's, AlexeyAB's of 2020, and with embeddings


class CDetection(ctypes.Structure):
    """The first members of ``detection``, which are the same in every fork."""

    _fields_ = (
        ("box", ctypes.c_float * 4),
        ("classes", ctypes.c_int),
        ("prob", _FLOATS),
        ("mask", _FLOATS),
        ("objectness", ctypes.c_float),
        ("sort_class", ctypes.c_int),
    )


def open_library(path: str) -> Any:
    """Open the library and declare its functions; ``load`` and ``predict`` are those of its fork."""
    c: Any = ctypes.CDLL(path)
    pointer = ctypes.c_void_p
    integer = ctypes.c_int
    real = ctypes.c_float
    c.set_batch_network.argtypes = [pointer, integer]
    if hasattr(c, "network_predict_ptr"):  # AlexeyAB's network_predict takes the struct by value
        c.predict = c.network_predict_ptr
        c.load = c.load_network_custom
        c.load.argtypes = [ctypes.c_char_p, ctypes.c_char_p, integer, integer]
        c.diounms_sort.argtypes = [pointer, integer, integer, real, integer, real]
    else:
        c.predict = c.network_predict
        c.load = c.load_network
        c.load.argtypes = [ctypes.c_char_p, ctypes.c_char_p, integer]
    c.load.restype = pointer
    c.predict.restype = _FLOATS
    c.predict.argtypes = [pointer, _FLOATS]
    c.get_network_boxes.restype = pointer
    c.get_network_boxes.argtypes = [
        *(pointer, integer, integer, real, real, pointer, integer, ctypes.POINTER(integer)),
        integer,  # letter; pjreddie's function has no such parameter and ignores the argument
    ]
    c.do_nms_sort.argtypes = [pointer, integer, integer, real]
    return c


def load_network(c: Any, cfg: str, weights: str) -> Any:
    """Load a network with batch size 1."""
    arguments = [cfg.encode(), weights.encode(), 0]
    network = c.load(*arguments, 1) if len(c.load.argtypes) == 4 else c.load(*arguments)
    c.set_batch_network(network, 1)
    return network


def predict(c: Any, network: Any, x: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Run the network and return the first ``count`` floats of the last layer's output."""
    output = c.predict(network, x.ctypes.data_as(_FLOATS))
    return np.ctypeslib.as_array(output, (count,)).copy()


def detect(c: Any, network: Any, job: dict[str, Any]) -> list[list[float]]:
    """Return detections after NMS, rows of class, confidence, cx, cy, w, h relative to the input."""
    count = ctypes.c_int()
    classes = job["classes"]
    width, height = job["size"]
    start = c.get_network_boxes(network, width, height, job["threshold"], 0.5, None, 1, ctypes.byref(count), 0)
    total = count.value
    if not total:
        return []
    stride = next((s for s in _STRIDES if _is_layout(_detections_at(start, total, s), classes)), 0)
    if not stride:
        raise SystemExit(f"unknown layout of struct detection: expected one of {_STRIDES} bytes")
    if job["nms"] and job["nms_kind"]:
        c.diounms_sort(start, total, classes, job["nms"], job["nms_kind"], job["beta_nms"])
    elif job["nms"]:
        c.do_nms_sort(start, total, classes, job["nms"])
    return [
        [float(k), each.prob[k], *each.box]
        for each in _detections_at(start, total, stride)
        for k in range(classes)
        if each.prob[k] > 0
    ]


def _is_layout(rows: list[CDetection], classes: int) -> bool:
    """Whether each row has its own aligned array of probabilities; not all heads set the number of classes."""
    addresses = [ctypes.cast(each.prob, ctypes.c_void_p).value or 0 for each in rows]
    unique = len(set(addresses)) == len(addresses) and all(address and address % 8 == 0 for address in addresses)
    return unique and all(each.classes in (0, classes) for each in rows)


def _detections_at(start: int, count: int, stride: int) -> list[CDetection]:
    return [CDetection.from_address(start + index * stride) for index in range(count)]


def serve(c: Any, job: dict[str, Any], x: np.ndarray[Any, Any]) -> None:
    """Run all images once for each byte read from the first pipe, then write a byte to the second."""
    network = load_network(c, job["cfg"], job["weights"])
    requests, replies = job["pipes"]
    os.write(replies, b".")
    while os.read(requests, 1):
        for image in x:
            c.predict(network, image.ctypes.data_as(_FLOATS))
        os.write(replies, b".")


def main(job_file: str) -> None:
    """Run a job: write the outputs of all layers and the detections to a file, or serve if the job has pipes."""
    job = json.loads(pathlib.Path(job_file).read_text(encoding="utf-8"))
    c = open_library(job["library"])
    x = np.ascontiguousarray(np.load(job["input"]), dtype=np.float32)
    if "pipes" in job:
        serve(c, job, x)
        return
    layers = predict(c, load_network(c, job["concatenated_cfg"], job["weights"]), x, job["floats"])
    rows: list[list[float]] = []
    if job["classes"]:
        network = load_network(c, job["cfg"], job["weights"])
        predict(c, network, x, 1)
        rows = detect(c, network, job)
    np.savez(job["output"], layers=layers, boxes=np.array(rows, dtype=np.float32).reshape(-1, 6))


if __name__ == "__main__":
    main(sys.argv[1])
