"""Make tests/golden/loader.npz: training images and boxes of C Darknet's loader, with the random numbers it drew.

    python tools/make_loader_golden.py LIBDARKNET.SO

The library is AlexeyAB's, built as tests/golden/README.md says but with OPENCV=1 (OpenCV 4.6) and with -O2 instead of
-Ofast, which leaves the order of float operations to the compiler. ``load_data_detection`` draws with ``rand``; the
same numbers are drawn here again, in its order.
"""

from __future__ import annotations

import ctypes as c
import os
import pathlib
import sys
import tempfile
from typing import Any

import numpy as np
from PIL import Image

OUT = pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden" / "loader.npz"
FLOATS = c.POINTER(c.c_float)
RAND_MAX = np.float32(2147483647)
CLASSES, TARGET_SIZE, MAX_OBJECTS = 3, 6, 30
IMAGES, CALLS = 16, 4
MIXUP, MOSAIC = 1, 3  # values of C's use_mixup

# mix, flip, jitter, resize, letter_box, mosaic_bound
CASES: dict[str, tuple[int, int, float, float, int, int]] = {
    "jitter": (0, 1, 0.3, 1.0, 0, 0),
    "larger": (0, 1, 0.2, 1.5, 0, 0),
    "smaller": (0, 1, 0.1, 0.6, 0, 0),
    "letterbox": (0, 1, 0.3, 1.4, 1, 0),
    "mixup": (MIXUP, 1, 0.3, 1.0, 0, 0),
    "mosaic": (MOSAIC, 1, 0.3, 1.5, 0, 0),
    "bound": (MOSAIC, 0, 0.2, 1.5, 0, 1),
    "empty": (MOSAIC, 1, 0.9, 1.0, 0, 0),
}


class Matrix(c.Structure):
    """Darknet's matrix."""

    _fields_ = (("rows", c.c_int), ("cols", c.c_int), ("vals", c.POINTER(FLOATS)))


class Data(c.Structure):
    """Darknet's data."""

    _fields_ = (
        ("w", c.c_int),
        ("h", c.c_int),
        ("X", Matrix),
        ("y", Matrix),
        ("shallow", c.c_int),
        ("num_boxes", c.c_void_p),
        ("boxes", c.c_void_p),
    )


class Draws:
    """The random numbers of the C library, and what utils.c makes of them."""

    def __init__(self, seed: int) -> None:
        """Seed the generator."""
        self.libc = c.CDLL(None)
        self.libc.srand(seed)

    def integer(self, count: int) -> int:
        """``random_gen() % count``."""
        return int(self.libc.rand() % count)

    def real(self) -> np.float32:
        """``random_float()``."""
        return np.float32(self.libc.rand()) / RAND_MAX


def write_images(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Write images and label files to the working folder; boxes have their edges on whole pixels, as annotated ones."""
    images, labels = [], []  # sides are multiples of 6, so that limits and padding are near whole pixels
    for number in range(IMAGES):
        width, height = (6 * int(n) for n in rng.integers(3, 8, 2))
        coarse = rng.integers(0, 256, (max(2, height // 9), max(2, width // 9), 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.save(f"{number}.png")
        rows = []
        for _ in range(int(rng.integers(0, 8))):
            (left, right), (top, bottom) = (np.sort(rng.choice(n + 1, 2, replace=False)) for n in (width, height))
            box = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width)
            rows.append(f"{rng.integers(CLASSES)} {box[0]:.6f} {box[1]:.6f} {box[2]:.6f} {(bottom - top) / height:.6f}")
        pathlib.Path(f"{number}.txt").write_text("\n".join(rows) + "\n")
        values = np.array([row.split() for row in rows], np.float32).reshape(-1, 5)
        images.append(np.array(image))
        labels.append(values[:, [1, 2, 3, 4, 0]])
    return images, labels


def run(lib: Any, seed: int, size: tuple[int, int], case: tuple[int, int, float, float, int, int]) -> Any:
    """One image of ``load_data_detection``: uint8 [height, width, 3] and boxes [n, 5]."""
    mix, flip, jitter, resize, letter_box, bound = case
    paths = (c.c_char_p * IMAGES)(*(f"{number}.png".encode() for number in range(IMAGES)))
    crop = (c.c_float(jitter), c.c_float(resize))
    colour = (c.c_float(0), c.c_float(1), c.c_float(1))
    c.CDLL(None).srand(seed)
    shape = (*size, 3, MAX_OBJECTS, TARGET_SIZE, CLASSES)
    tail = (1, 0, 1, letter_box, bound, 0, 0, 0, 0)
    data = lib.load_data_detection(1, paths, IMAGES, *shape, flip, 0, 0, mix, *crop, *colour, *tail)
    pixels = np.ctypeslib.as_array(data.X.vals[0], (3, size[1], size[0])).transpose(1, 2, 0) * 255
    targets = np.ctypeslib.as_array(data.y.vals[0], (MAX_OBJECTS, TARGET_SIZE))
    count = int((targets[:, 0] == 0).argmax())
    scale = 2 if mix == MIXUP else 1  # the mean of two images has halves of a level
    return np.rint(pixels * scale).astype(np.uint16), targets[:count, :5].copy()


def draw(
    seed: int, size: tuple[int, int], case: tuple[int, int, float, float, int, int], labels: list[np.ndarray]
) -> tuple[list[list[float]], list[int]]:
    """Draw the same numbers again.

    Returns:
        For each image its number, jitter (4), resize (2) and flip; and the integers of the mosaic's centre, of the
        alignment to its tile and of the order of the boxes, in the order in which they are used.
    """
    mix, flip, *_ = case
    draws = Draws(seed)
    draws.integer(1)  # random_index
    if draws.integer(2) == 0:
        mix = 0
    integers, images = [], []
    if mix == MOSAIC:
        for side in size:
            low, high = (int(np.float32(side) * share) for share in (np.float32(0.2), 1 - np.float32(0.2)))
            integers.append(low + draws.integer(high - low + 1))
    for _ in range(mix + 1):
        number = draws.integer(IMAGES)
        resize = [draws.real() for _ in range(2)]
        jitter = [draws.real() for _ in range(4)]
        flipped = draws.integer(2) if flip else 0
        draws.real()  # r_scale
        for _ in range(5):  # hue; saturation and exposure with the direction of each
            draws.real()
        images.append([number, *map(float, jitter), *map(float, resize), flipped])
        if mix == MOSAIC:
            integers.append(1 - draws.integer(2))
        boxes = len(labels[number])
        integers += [draws.integer(boxes) for _ in range(boxes)]
    return images, integers


def is_wanted(name: str, size: tuple[int, int], images: list[np.ndarray], draws: list[list[float]]) -> bool:
    """Whether a call shows what its case is for; else another seed is tried."""
    if CASES[name][0] and len(draws) == 1:
        return False  # C mixes images in half of the calls
    if name == "empty":  # an upper tile without columns, and with padding below
        return any(row[1] + row[2] > 1.57 and row[4] < 0.3 and row[3] + row[4] < 0.7 for row in draws[:2])
    if name == "letterbox":  # padding that is a whole number of pixels but for rounding errors
        height, width = images[int(draws[0][0])].shape[:2]
        paddings = set()
        for number in (np.float32, np.float64):
            aspect = number(size[0]) / number(size[1])
            wide = number(width) / number(height) > aspect
            paddings.add(int((width / aspect - height) / 2 if wide else (height * aspect - width) / 2))
        return len(paddings) > 1
    return True


def main() -> None:
    """Write the file."""
    lib = c.CDLL(os.path.abspath(sys.argv[1]))
    lib.load_data_detection.restype = Data
    rng = np.random.default_rng(21)
    arrays: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        images, labels = write_images(rng)
        for number in range(IMAGES):
            arrays[f"image_{number}"], arrays[f"labels_{number}"] = images[number], labels[number]
        for name, case in CASES.items():
            arrays[f"{name}_options"] = np.array(case)
            for call in range(CALLS):
                while True:
                    size, seed = (
                        (3 * int(rng.integers(4, 11)), 3 * int(rng.integers(4, 11))),
                        int(rng.integers(1 << 30)),
                    )
                    draws, integers = draw(seed, size, case, labels)
                    if is_wanted(name, size, images, draws):
                        break
                arrays[f"{name}_{call}_draws"], arrays[f"{name}_{call}_integers"] = np.array(draws), np.array(integers)
                arrays[f"{name}_{call}_pixels"], arrays[f"{name}_{call}_boxes"] = run(lib, seed, size, case)
        os.chdir(OUT.parent)
    np.savez_compressed(OUT, **arrays)


if __name__ == "__main__":
    main()
