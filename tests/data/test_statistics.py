"""Statistics of a data set, the size of the input that it needs, and the plots of both."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from PIL import Image

from darknet_py.data.dataset import Dataset, Sample
from darknet_py.data.plots import write_plots
from darknet_py.data.statistics import (
    compare_input_sizes,
    compute_statistics,
    describe_input_sizes,
    recommend_input_size,
)
from darknet_py.errors import DataError
from tests.helpers.data_files import write_image

NONE = np.zeros((0, 5), np.float32)


def dataset(folder: pathlib.Path, *sides: float) -> Dataset:
    """An image of 100 x 50 pixels with a square in a square input for each side, relative to it, and an empty one."""
    rows = np.array([(0.5, 0.5, side, side, number % 2) for number, side in enumerate(sides)], np.float32).reshape(
        -1, 5
    )
    images = [write_image(folder / f"{number}.png", (100, 50)) for number in range(2)]
    return Dataset([Sample(images[0], rows, NONE), Sample(images[1], NONE, NONE)], ("dog", "$x$"))


def test_numbers_are_those_of_the_data_set(tmp_path: pathlib.Path) -> None:
    data = dataset(tmp_path, 0.1, 0.2, 0.4)
    statistics = compute_statistics(Dataset([*data, Sample("missing.png", NONE, NONE)], data.names))
    assert statistics.to_dict(200, 100) == {
        "images": 3,
        "images_without_objects": 2,
        "median_image": (100, 50),
        "objects": 3,
        "classes": [
            {"class": 0, "name": "dog", "objects": 2, "images": 1},
            {"class": 1, "name": "$x$", "objects": 1, "images": 1},
        ],
        "input": [200, 100],
        # Sides are sqrt(200 * 100) times 0.1, 0.2, 0.4.
        "object_side": pytest.approx({"5%": 15.556, "50%": 28.284, "95%": 53.740}, abs=1e-3),
        "small_objects": pytest.approx(1 / 3),
    }


def test_the_smallest_larger_input_with_few_small_objects_is_recommended(tmp_path: pathlib.Path) -> None:
    # In an input of n pixels the objects have 0.03 n and 0.2 n: 16 pixels are reached at 534 and at 80.
    statistics = compute_statistics(dataset(tmp_path, 0.03, 0.2))
    sizes = compare_input_sizes(statistics, 416, 416, 32)
    assert [size.width for size in sizes] == list(range(224, 833, 32))
    assert [size.small for size in sizes] == [0.5 if size.width < 534 else 0.0 for size in sizes]
    better = recommend_input_size(sizes, 416)
    assert better is not None
    assert (better.width, better.height, better.small) == (544, 544, 0.0)
    assert better.cost == pytest.approx((544 / 416) ** 2)
    assert describe_input_sizes(statistics, sizes, 416)[-1].startswith("advice: --imgsz 544 544; the median image")
    assert recommend_input_size(compare_input_sizes(statistics, 608, 608, 32), 608) is None


def test_the_shape_of_the_input_is_kept(tmp_path: pathlib.Path) -> None:
    sizes = compare_input_sizes(compute_statistics(dataset(tmp_path, 0.001)), 96, 64, 32)
    assert [size[:2] for size in sizes] == [(64, 32), (96, 64), (128, 96), (160, 96), (192, 128)]
    best = recommend_input_size(sizes, 96)
    assert best is not None
    assert best[:2] == (192, 128)


def test_plots_are_written_and_replace_no_image(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    data = dataset(tmp_path, 0.1, 0.2, 0.4)
    statistics = compute_statistics(data)
    sizes = compare_input_sizes(statistics, 64, 64, 32)
    anchors = np.array([[10.0, 14.0], [23.0, 27.0]])
    files = write_plots(statistics, tmp_path / "plots", data, sizes, (64, 64), anchors)
    assert [file.name for file in files] == ["classes.png", "sizes.png", "positions.png", "input_size.png"]
    for file in files:
        with Image.open(file) as image:
            assert min(image.size) > 500
    replaced = Dataset([Sample(write_image(tmp_path / "p" / "classes.png"), NONE, NONE)])
    with pytest.raises(DataError, match="would replace the input"):  # and a data set without objects can be drawn
        write_plots(compute_statistics(replaced), tmp_path / "p", replaced, sizes, (64, 64))


def test_without_objects_there_is_no_advice(tmp_path: pathlib.Path) -> None:
    statistics = compute_statistics(dataset(tmp_path))
    sizes = compare_input_sizes(statistics, 416, 416, 32)
    assert describe_input_sizes(statistics, sizes, 416) == ["no objects: no advice on the size of the network's input"]
