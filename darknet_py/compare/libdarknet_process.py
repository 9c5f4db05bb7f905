"""The C library of Darknet, in a process of its own: it ends the process where it does not like a file.

Run as a program with the path of a job (JSON, see ``libdarknet.py``); imports nothing of the package. Nothing
here knows the layout of the library's structs beyond the start of ``detection``: forks differ in them.
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
_STRIDES = (48, 64, 88)  # bytes of a detection: pjreddie's, AlexeyAB's of 2020, and with embeddings


class Detection(ctypes.Structure):
    """What ``detection`` starts with in every fork."""

    _fields_ = (
        ("box", ctypes.c_float * 4),
        ("classes", ctypes.c_int),
        ("prob", _FLOATS),
        ("mask", _FLOATS),
        ("objectness", ctypes.c_float),
        ("sort_class", ctypes.c_int),
    )


def opened(path: str) -> Any:
    """The library with its functions declared; ``load``, ``predict`` are the fork's own."""
    c: Any = ctypes.CDLL(path)
    pointer, integer, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
    c.set_batch_network.argtypes = [pointer, integer]
    if hasattr(c, "network_predict_ptr"):  # AlexeyAB's network_predict takes the struct itself
        c.predict, c.load = c.network_predict_ptr, c.load_network_custom
        c.load.argtypes = [ctypes.c_char_p, ctypes.c_char_p, integer, integer]
        c.diounms_sort.argtypes = [pointer, integer, integer, real, integer, real]
    else:
        c.predict, c.load = c.network_predict, c.load_network
        c.load.argtypes = [ctypes.c_char_p, ctypes.c_char_p, integer]
    c.load.restype, c.predict.restype, c.predict.argtypes = pointer, _FLOATS, [pointer, _FLOATS]
    c.get_network_boxes.restype = pointer
    c.get_network_boxes.argtypes = [
        *(pointer, integer, integer, real, real, pointer, integer, ctypes.POINTER(integer)),
        integer,  # letter, which pjreddie's has not and does not look at
    ]
    c.do_nms_sort.argtypes = [pointer, integer, integer, real]
    return c


def network(c: Any, cfg: str, weights: str) -> Any:
    """A network for one image at a time."""
    names = [cfg.encode(), weights.encode(), 0]
    made = c.load(*names, 1) if len(c.load.argtypes) == 4 else c.load(*names)
    c.set_batch_network(made, 1)
    return made


def predicted(c: Any, made: Any, x: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """``count`` floats of what the last layer holds."""
    found = c.predict(made, x.ctypes.data_as(_FLOATS))
    return np.ctypeslib.as_array(found, (count,)).copy()


def boxes(c: Any, made: Any, job: dict[str, Any]) -> list[list[float]]:
    """Rows of class, confidence, x, y, w, h relative to the input, after suppression."""
    count, classes = ctypes.c_int(), job["classes"]
    width, height = job["size"]
    found = c.get_network_boxes(made, width, height, job["threshold"], 0.5, None, 1, ctypes.byref(count), 0)
    total = count.value
    if not total:
        return []
    stride = next((s for s in _STRIDES if _fits(_at(found, total, s), classes)), 0)
    if not stride:
        raise SystemExit("the library's struct detection is none of those that are known")
    if job["nms"] and job["nms_kind"]:
        c.diounms_sort(found, total, classes, job["nms"], job["nms_kind"], job["beta_nms"])
    elif job["nms"]:
        c.do_nms_sort(found, total, classes, job["nms"])
    return [
        [float(k), each.prob[k], *each.box]
        for each in _at(found, total, stride)
        for k in range(classes)
        if each.prob[k] > 0
    ]


def _fits(rows: list[Detection], classes: int) -> bool:
    """Whether each row has its own array of probabilities; not all heads write the number of classes."""
    places = [ctypes.cast(each.prob, ctypes.c_void_p).value or 0 for each in rows]
    apart = len(set(places)) == len(places) and all(place and place % 8 == 0 for place in places)
    return apart and all(each.classes in (0, classes) for each in rows)


def _at(start: int, count: int, stride: int) -> list[Detection]:
    return [Detection.from_address(start + number * stride) for number in range(count)]


def serve(c: Any, job: dict[str, Any], x: np.ndarray[Any, Any]) -> None:
    """One pass for each byte that comes in on a pipe, and one byte back when it is done."""
    made = network(c, job["cfg"], job["weights"])
    orders, done = job["pipes"]
    os.write(done, b".")
    while os.read(orders, 1):
        for image in x:
            c.predict(made, image.ctypes.data_as(_FLOATS))
        os.write(done, b".")


def main(job_file: str) -> None:
    """Do a job: all layers' floats by the cfg that joins them, the boxes by the cfg as it is; or serve."""
    job = json.loads(pathlib.Path(job_file).read_text(encoding="utf-8"))
    c = opened(job["library"])
    x = np.ascontiguousarray(np.load(job["input"]), dtype=np.float32)
    if "pipes" in job:
        serve(c, job, x)
        return
    layers = predicted(c, network(c, job["joined"], job["weights"]), x, job["floats"])
    rows: list[list[float]] = []
    if job["classes"]:
        made = network(c, job["cfg"], job["weights"])
        predicted(c, made, x, 1)
        rows = boxes(c, made, job)
    np.savez(job["output"], layers=layers, boxes=np.array(rows, dtype=np.float32).reshape(-1, 6))


if __name__ == "__main__":
    main(sys.argv[1])
