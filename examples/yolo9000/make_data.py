"""Write a data set in the manner of YOLO9000's: boxes of three shapes, and images of one digit whose class is known.

    python examples/yolo9000/make_data.py set9000

``train.txt`` has images of several digits, whose labels are boxes of round, straight and curved digits: no label says
which digit it is. ``singles.txt`` has images of one digit in folders with its name, and no boxes. ``valid.txt`` has
boxes of the ten digits. The classes are those of ``digits.tree``.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from darknet_py.data.labels import format_labels
from darknet_py.demo import digits

TREE = pathlib.Path(__file__).with_name("digits.tree")
_SINGLES_SEED = 1  # other images than those of train.txt, which have seed 0


def main() -> None:
    """Write the files into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the files are written; existing ones are replaced")
    parser.add_argument("--train-images", type=int, default=800, help="images with boxes (default: 800)")
    parser.add_argument("--singles", type=int, default=800, help="images with a class only (default: 800)")
    parser.add_argument("--valid-images", type=int, default=200, help="validation images (default: 200)")
    args = parser.parse_args()
    print(write_files(args.folder, args.train_images, args.singles, args.valid_images))


def write_files(folder: pathlib.Path, train: int, singles: int, valid: int) -> pathlib.Path:
    """Write images, labels, lists and the .data file, whose path is returned."""
    lines = [line.split() for line in TREE.read_text().splitlines()]
    names, parents = [line[0] for line in lines], [int(line[1]) for line in lines]
    node_of_digit = np.array([names.index(name) for name in digits.CLASS_NAMES])
    shape_of_digit = np.array(parents)[node_of_digit]
    lists = {
        "train": _write_objects(folder, "train", train, shape_of_digit),
        "valid": _write_objects(folder, "valid", valid, node_of_digit),
        "singles": _write_singles(folder, singles),
    }
    for name, files in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{file}\n" for file in files))
    (folder / "digits.names").write_text("".join(f"{name}\n" for name in names))
    data = folder / "digits9000.data"
    data.write_text(
        f"classes = {len(names)}\ntrain = train.txt\nclassification = singles.txt\nclassification_ratio = 1\n"
        "valid = valid.txt\nnames = digits.names\nbackup = backup\n"
    )
    return data


def _write_objects(folder: pathlib.Path, subset: str, count: int, class_of_digit: npt.NDArray[np.int64]) -> list[str]:
    """Images of several digits, with label files."""
    samples = digits.load_samples()[subset]
    (folder / subset).mkdir(parents=True, exist_ok=True)
    files = [f"{subset}/{number:05d}.png" for number in range(count)]
    for number, file in enumerate(files):
        image, targets = digits.render_image(samples, subset, number)
        targets[:, 4] = class_of_digit[targets[:, 4].astype(int)]
        Image.fromarray(image).save(folder / file)
        (folder / file).with_suffix(".txt").write_text("".join(f"{line}\n" for line in format_labels(targets)))
    return files


def _write_singles(folder: pathlib.Path, count: int) -> list[str]:
    """Images of one digit, in a folder with its name."""
    files = []
    samples = digits.load_samples()["train"]
    for number in range(count):
        image, targets = digits.render_image(samples, "train", number, _SINGLES_SEED, count=1)
        file = f"singles/{digits.CLASS_NAMES[int(targets[0, 4])]}/{number:05d}.png"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / file)
        files.append(file)
    return files


if __name__ == "__main__":
    main()
