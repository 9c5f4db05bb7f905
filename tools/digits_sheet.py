"""Write darknet_py/demo/digits.png, the handwritten digits of the synthetic data set.

    python tools/digits_sheet.py digits.csv.gz

The file is in any wheel of scikit-learn, under sklearn/datasets/data: 1797 digits of 8 x 8 cells with values 0..16,
the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository, https://doi.org/10.24432/C50P49, CC BY 4.0). Row k of the sheet has the samples of digit k in the order
of the file, which is sorted by writer, so that the first and the last of a row are of different writers.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
from PIL import Image, PngImagePlugin

SIDE = 8  # pixels of a sample
LEVEL = 15  # grey levels of one of the 16 values
TARGET = pathlib.Path(__file__).resolve().parents[1] / "darknet_py" / "demo" / "digits.png"
SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository, "
    "https://doi.org/10.24432/C50P49, CC BY 4.0; as a sheet with a row for each digit"
)


def main() -> None:
    """Write the sheet."""
    table = np.loadtxt(sys.argv[1], delimiter=",").astype(np.uint8)
    digits, numbers = table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
    sheet = np.zeros((10, SIDE, np.bincount(numbers).max(), SIDE), np.uint8)
    for number in range(10):
        samples = digits[numbers == number]
        sheet[number, :, : len(samples)] = samples.transpose(1, 0, 2) * LEVEL
    metadata = PngImagePlugin.PngInfo()
    metadata.add_text("Source", SOURCE)
    Image.fromarray(sheet.reshape(10 * SIDE, -1)).save(TARGET, optimize=True, pnginfo=metadata)
    print(f"{TARGET}: {len(digits)} digits, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
