"""Write the images of docs/gallery.md into docs/gallery/.

    pip download --no-deps scikit-image==0.26.0
    python tools/make_gallery.py scikit_image-0.26.0-*.whl ../shared/data/coco128 ../shared/data/coco.names

The wheel contains the photographs, which are free to copy (skimage/data/_fetchers.py has the licence of each). The
curves are computed on the data set, of which no image is written; the contact sheets show the package's synthetic
data set of digits.
"""

from __future__ import annotations

import hashlib
import io
import pathlib
import shutil
import sys
import tempfile
import zipfile

from PIL import Image

import darknet_py
from darknet_py import cli
from darknet_py.evaluation import plots
from darknet_py.evaluation.evaluator import evaluate

TARGET = pathlib.Path(__file__).resolve().parents[1] / "docs" / "gallery"
PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
}
CURVES = ("pr_curve.png", "f1_curve.png", "confusion_matrix.png")
SHEETS = ("labels.jpg", "predictions.jpg")
SHEET = (1230, 1002)  # pixels
MAX_BYTES = 200_000  # of an image


def read_photographs(wheel: str) -> dict[str, Image.Image]:
    """Return the photographs by name. Exits if a checksum is not as expected."""
    images = {}
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in PHOTOGRAPHS.items():
            content = archive.read(f"skimage/data/{name}")
            if hashlib.sha256(content).hexdigest() != expected:
                raise SystemExit(f"{wheel}: {name} has another checksum than expected")
            images[pathlib.Path(name).stem] = Image.open(io.BytesIO(content)).convert("RGB")
    return images


def write_digits() -> None:
    """Write the contact sheets and the confusion matrix of the synthetic data set and its detector."""
    with tempfile.TemporaryDirectory() as folder:
        for line in (["digits", folder], ["evaluate", "digits", f"{folder}/digits.data", "--plots", folder]):
            if status := cli.main([*line, "--quiet"]):
                raise SystemExit(status)
        for name in SHEETS:
            with Image.open(pathlib.Path(folder, name)) as sheet:
                sheet.resize(SHEET, Image.Resampling.LANCZOS).save(TARGET / name, quality=80)
        shutil.copy(pathlib.Path(folder, "confusion_matrix.png"), TARGET / "digits_matrix.png")


def main() -> None:
    """Write all images."""
    wheel, data, names = sys.argv[1:]
    TARGET.mkdir(exist_ok=True)
    network = darknet_py.load("yolov4-tiny")
    detector = darknet_py.Detector(network, names=names)
    for name, image in read_photographs(wheel).items():
        result = detector(image)
        result.save(TARGET / f"{name}.jpg")
        print(f"{name}.jpg: {', '.join(str(result).splitlines())}")
    evaluation = evaluate(network, data, names=names)
    print("\n".join(evaluation.summary()))
    with tempfile.TemporaryDirectory() as folder:
        plots.write(evaluation, folder)
        for name in CURVES:
            shutil.copy(pathlib.Path(folder, name), TARGET / name)
    if "digits" in cli.verbs():
        write_digits()
    for path in sorted(TARGET.iterdir()):
        size = path.stat().st_size
        print(f"{path.name}: {size} bytes{', too large' if size > MAX_BYTES else ''}")


if __name__ == "__main__":
    main()
