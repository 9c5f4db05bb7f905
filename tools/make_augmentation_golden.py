"""Make tests/golden/augmentation.npz: results of OpenCV and C Darknet for small images, labels and boxes.

    python tools/make_augmentation_golden.py LIBDARKNET.SO

Needs opencv-python-headless, and AlexeyAB's library built as tests/golden/README.md says.
"""

from __future__ import annotations

import ctypes as c
import os
import pathlib
import sys
import tempfile
from typing import Any

import cv2
import numpy as np

OUT = pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden" / "augmentation.npz"
FLOATS = c.POINTER(c.c_float)


class Image(c.Structure):
    """Darknet's image."""

    _fields_ = (("w", c.c_int), ("h", c.c_int), ("c", c.c_int), ("data", FLOATS))


class Matrix(c.Structure):
    """Darknet's matrix."""

    _fields_ = (("rows", c.c_int), ("cols", c.c_int), ("vals", c.POINTER(FLOATS)))


class Model(c.Structure):
    """The result of do_kmeans."""

    _fields_ = (("assignments", c.POINTER(c.c_int)), ("centers", Matrix))


def opencv(rng: np.random.Generator) -> dict[str, Any]:
    """Resize an image, shift its colours and blur it."""
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image_array = cv2.resize(coarse, (33, 25), interpolation=cv2.INTER_CUBIC)
    out = {"image": image_array}
    for width, height in ((16, 16), (50, 41), (33, 12)):
        out[f"resized_{width}x{height}"] = cv2.resize(image_array, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = rng.integers(0, 256, (6, 128, 3), dtype=np.uint8)  # rows that are whole vectors for OpenCV
    colours[:1] = colours[:1, :, :1]
    colours[1, :10] = 0
    out["colours"] = colours
    out["hsv"] = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV)
    for name, (hue, saturation, exposure) in {
        "up": (0.1, 1.5, 1.4),
        "down": (-0.1, 0.7, 0.6),
        "far": (0.4, 1, 1),
    }.items():
        planes = list(cv2.split(out["hsv"]))
        planes[1] = cv2.multiply(planes[1], 1, scale=saturation)
        planes[2] = cv2.multiply(planes[2], 1, scale=exposure)
        planes[0] = cv2.add(planes[0], np.array([179 * hue]))
        out[f"shift_{name}"] = np.array((hue, saturation, exposure))
        out[f"hsv_shifted_{name}"] = cv2.cvtColor(cv2.merge(planes), cv2.COLOR_HSV2RGB)
    for size in (3, 5, 7, 9, 17):
        out[f"blurred_{size}"] = cv2.GaussianBlur(image_array, (size, size), 0)
    return out


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Sample boxes of three classes, some of them partly or entirely outside the image."""
    xy, wh = rng.uniform(-0.05, 1.05, (count, 2)), rng.uniform(0.01, 0.5, (count, 2))
    return np.concatenate((xy, wh, rng.integers(0, 3, (count, 1))), axis=1).astype(np.float32)


def boxes_of_windows_and_tiles(lib: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Run ``fill_truth_detection`` for windows of an image, and ``blend_truth_mosaic`` for mosaic tiles."""
    out: dict[str, Any] = {}
    labels = boxes(rng, 12)
    labels[0, :2] = 0
    out["labels"] = labels
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # bad_label.list is written to the working folder
        pathlib.Path("a.txt").write_text(
            "".join(f"{int(k)} {x:.9g} {y:.9g} {w:.9g} {h:.9g}\n" for x, y, w, h, k in labels)
        )
        for case in range(6):
            width, height = (int(n) for n in rng.integers(80, 200, 2))
            left, right, top, bottom = (int(n) for n in rng.integers(-30, 31, 4))
            net = int(rng.integers(50, 130)), int(rng.integers(50, 130))
            flip = case % 2
            sx, sy = (width - left - right) / width, (height - top - bottom) / height
            target = np.zeros((20, 6), np.float32)
            scale = (left / width / sx, top / height / sy, 1 / sx, 1 / sy)
            lib.fill_truth_detection(
                b"a.jpg", 20, 6, target.ctypes.data_as(FLOATS), 3, flip, *map(c.c_float, scale), *net
            )
            out[f"window_{case}"] = np.array((left, right, top, bottom, width, height, *net, flip))
            out[f"window_boxes_{case}"] = target[target[:, 0] != 0][:, :5]
        os.chdir(OUT.parent)
    inside = boxes(rng, 20)
    inside = inside[((inside[:, :2] - inside[:, 2:4] / 2 > 0) & (inside[:, :2] + inside[:, 2:4] / 2 < 1)).all(axis=1)]
    out["inside"] = inside
    for case in range(16):
        quadrant, bound = case % 4, case // 4 % 2
        w, h = 96, 64
        x, y = int(rng.integers(19, 77)), int(rng.integers(13, 52))
        borders = [int(rng.integers(0, limit + 1)) for limit in (x, w - x, y, h - y)]
        new, old = np.zeros((30, 6), np.float32), np.zeros((30, 6), np.float32)
        old[: len(inside), :5] = inside
        mosaic = (w, h, c.c_float(x), c.c_float(y), quadrant)
        lib.blend_truth_mosaic(
            new.ctypes.data_as(FLOATS), 30, 6, old.ctypes.data_as(FLOATS), *mosaic, *borders, w, h, bound
        )
        out[f"tile_{case}"] = np.array((quadrant, bound, w, h, x, y, *borders))
        out[f"tile_boxes_{case}"] = new[new[:, 0] != 0][:, :5]
    return out


def crops_and_distortions(lib: Any, rng: np.random.Generator, image_array: np.ndarray) -> dict[str, Any]:
    """Run ``rotate_crop_image`` and ``distort_image``."""
    lib.rotate_crop_image.restype = Image
    planes = np.ascontiguousarray(image_array.transpose(2, 0, 1), np.float32) / np.float32(255)
    image = Image(image_array.shape[1], image_array.shape[0], 3, planes.ctypes.data_as(FLOATS))
    out: dict[str, Any] = {}
    for case, (angle, scale, aspect, right, down) in enumerate(
        ((0, 1.3, 1, 0, 0), (0.2, 0.8, 1.2, 2.5, -3), (-1, 2, 0.8, -5, 4))
    ):
        numbers = [c.c_float(v) for v in (angle, scale, right, down, aspect)]
        cropped = lib.rotate_crop_image(image, numbers[0], numbers[1], 18, 18, *numbers[2:])
        out[f"crop_params_{case}"] = np.array((angle, scale, aspect, right, down))
        out[f"crop_{case}"] = np.ctypeslib.as_array(cropped.data, (3, 18, 18)).transpose(1, 2, 0).copy()
    for case, shift in enumerate(((0.1, 1.4, 0.8), (-0.3, 0.6, 1.5))):
        copy = planes.copy()
        lib.distort_image(Image(image.w, image.h, 3, copy.ctypes.data_as(FLOATS)), *map(c.c_float, shift))
        out[f"distortion_{case}"] = np.array(shift)
        out[f"distorted_{case}"] = copy.transpose(1, 2, 0)
    return out


def clusters(lib: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Run ``do_kmeans`` and return its initial and final centres."""
    lib.do_kmeans.restype = Model
    lib.make_matrix.restype = Matrix
    lib.sample.restype = c.POINTER(c.c_int)
    sizes = np.exp(rng.normal(3.5, 0.8, (150, 2))).astype(np.float32)
    matrix = lib.make_matrix(len(sizes), 2)
    for row, values in enumerate(sizes):
        for column in range(2):
            matrix.vals[row][column] = float(values[column])
    libc = c.CDLL(None)
    out: dict[str, Any] = {"sizes": sizes}
    for count in (1, 4, 9):
        libc.srand(count)
        order = lib.sample(len(sizes))[: len(sizes)]
        libc.srand(count)
        centres = lib.do_kmeans(matrix, count).centers
        out[f"starts_{count}"] = np.array(order[:count])
        out[f"centres_{count}"] = np.array([centres.vals[row][:2] for row in range(count)], np.float32)
    return out


def main() -> None:
    """Write the file."""
    lib = c.CDLL(os.path.abspath(sys.argv[1]))
    rng = np.random.default_rng(7)
    arrays = opencv(rng)
    arrays |= (
        boxes_of_windows_and_tiles(lib, rng) | crops_and_distortions(lib, rng, arrays["image"]) | clusters(lib, rng)
    )
    np.savez_compressed(OUT, **arrays)


if __name__ == "__main__":
    main()
