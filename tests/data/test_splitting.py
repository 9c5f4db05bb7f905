"""Near-duplicates and the split of a data set."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from PIL import Image

from darknet_py.data.dataset import Dataset, Sample
from darknet_py.data.duplicates import DISTANCE, find_near_duplicates, perceptual_hashes
from darknet_py.data.splitting import split_dataset
from darknet_py.demo.textures import render_texture
from darknet_py.errors import DataError
from darknet_py.images.inspection import read_grey, read_size


def sample(name: str, *classes: int) -> Sample:
    rows = np.array([(0.5, 0.5, 0.5, 0.5, cls) for cls in classes], np.float32).reshape(-1, 5)
    return Sample(name, rows, np.zeros((0, 5), np.float32))


def random_dataset(images: int, seed: int = 0) -> Dataset:
    """Classes 0..4, each half as frequent as the one before, and images without objects."""
    rng = np.random.default_rng(seed)
    samples = [sample(str(n), *np.flatnonzero(rng.random(5) < 0.4 / 2.0 ** np.arange(5))) for n in range(images)]
    return Dataset(samples, tuple("abcde"), source="set")


def class_counts(dataset: Dataset) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.bincount([int(c) for s in dataset for c in s.targets[:, 4]], minlength=5)


def test_every_list_gets_its_share_of_every_class() -> None:
    dataset = random_dataset(1000)
    parts = split_dataset(dataset, {"train": 0.7, "valid": 0.2, "test": 0.1}, seed=3)
    assert [len(part) for part in parts.values()] == pytest.approx([700, 200, 100], abs=3)
    for part, share in zip(parts.values(), (0.7, 0.2, 0.1), strict=True):
        assert class_counts(part) == pytest.approx(share * class_counts(dataset), abs=3)
    names = [s.image for part in parts.values() for s in part]
    assert sorted(names, key=int) == [s.image for s in dataset]


def test_a_split_depends_on_the_seed_alone() -> None:
    dataset, fractions = random_dataset(60), {"train": 0.8, "valid": 0.2}
    first, again, other = (
        [s.image for s in split_dataset(dataset, fractions, seed=seed)["valid"]] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_group_is_not_divided() -> None:
    dataset = random_dataset(300)
    groups = np.random.default_rng(5).integers(0, 90, 300)
    parts = split_dataset(dataset, {"train": 0.8, "valid": 0.2}, groups=groups)
    sides = {subset: {int(groups[int(s.image)]) for s in part} for subset, part in parts.items()}
    assert not sides["train"] & sides["valid"]
    assert len(parts["valid"]) == pytest.approx(60, abs=6)


def test_a_rare_class_is_in_both_lists_if_it_has_images_for_them() -> None:
    dataset = Dataset([sample(str(n), 0, *([1] if n < 3 else [])) for n in range(50)], ("a", "b"))
    for seed in range(10):
        parts = split_dataset(dataset, {"train": 0.8, "valid": 0.2}, seed=seed)
        assert [sum(1 in s.targets[:, 4] for s in part) for part in parts.values()] == [2, 1]


@pytest.mark.parametrize(
    ("images", "groups", "fractions", "message"),
    [
        (4, None, {"train": 0.9, "valid": 0.2}, "set: expected fractions above 0 with the sum 1, got train 0.9, valid"),
        (4, None, {"train": 1.2, "valid": -0.2}, "expected fractions above 0"),
        (4, None, {"train": float("nan"), "valid": 0.2}, "expected fractions above 0"),
        (1, None, {"train": 0.8, "valid": 0.2}, "expected at least 2 images for train and valid, found 1"),
        (
            4,
            np.zeros(4, np.int64),
            {"train": 0.8, "valid": 0.2},
            "2 images that are no near-duplicates of each other for train and valid, found 1",
        ),
    ],
)
def test_splits_that_are_none_are_refused(
    images: int,
    groups: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None,
    fractions: dict[str, float],
    message: str,
) -> None:
    with pytest.raises(DataError, match=message):
        split_dataset(random_dataset(images), fractions, groups=groups)


def test_every_list_has_an_image_however_small_its_fraction() -> None:
    parts = split_dataset(random_dataset(3), {"train": 0.98, "valid": 0.01, "test": 0.01})
    assert [len(part) for part in parts.values()] == [1, 1, 1]


def test_frequencies_are_those_of_opencvs_dct() -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    grey = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)
    for image, value in zip(grey, perceptual_hashes(grey), strict=True):
        low = cv2.dct(image.astype(np.float32))[:8, :8].ravel()[1:]
        bits = [bool(int(value) >> bit & 1) for bit in range(64)]
        assert bits == [*(low > np.median(low)), False]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Eight different images, and changed copies of the first."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(4)
    for number in range(8):
        pixels = (
            np.kron(rng.integers(0, 256, (5, 6, 3)), np.ones((40, 40, 1))) * 0.6 + 60 * render_texture(rng, 240)[:200]
        )
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    first = Image.open(folder / "0.png")
    first.resize((97, 81)).save(folder / "0_small.png")
    first.save(folder / "0_compressed.jpg", quality=15)
    first.point(lambda value: min(255, 10 + value)).save(folder / "0_bright.png")
    first.convert("L").save(folder / "0_grey.tif")
    np.save(folder / "0_array.npy", np.asarray(first))
    first.close()
    return folder


def grouped(folder: pathlib.Path, names: list[str], distance: int = DISTANCE) -> list[list[str]]:
    similar = find_near_duplicates([str(folder / name) for name in names], distance=distance)
    return [[names[index] for index in group] for group in similar.groups]


def test_changed_copies_are_near_duplicates_and_other_images_are_not(images: pathlib.Path) -> None:
    names = sorted(path.name for path in images.iterdir())
    copies = [name for name in names if name.startswith("0")]
    assert len(copies) == 6
    assert grouped(images, names) == [copies]
    assert grouped(images, ["1.png", "2.png", "1.png"], distance=0) == [["1.png", "1.png"]]


def test_uniform_images_are_near_duplicates_of_each_other_only(tmp_path: pathlib.Path, images: pathlib.Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), (90, 90, 90)).save(tmp_path / name)
    paths = [str(tmp_path / "a.png"), str(images / "1.png"), str(tmp_path / "b.png")]
    assert find_near_duplicates(paths).groups == [[0, 2]]


def test_images_that_cannot_be_read_are_alone_and_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"text")
    similar = find_near_duplicates([str(tmp_path / "broken.jpg"), "missing.jpg"])
    assert similar.groups == []
    assert len(set(similar.group_of.tolist())) == 2
    assert [problem.location for problem in similar.problems] == [str(tmp_path / "broken.jpg"), "missing.jpg"]
    assert all(str(problem).endswith("; not compared") for problem in similar.problems)


def test_size_and_grey_copy_are_read_from_any_format(images: pathlib.Path) -> None:
    for name in ("0.png", "0_compressed.jpg", "0_grey.tif", "0_array.npy"):
        assert read_size(str(images / name)) == (240, 200)
        grey = read_grey(str(images / name), 32)
        assert grey.shape == (32, 32)
        assert np.abs(grey - read_grey(str(images / "0.png"), 32)).mean() < 3
    with pytest.raises(DataError, match=r"missing\.jpg: No such file"):
        read_grey("missing.jpg", 32)
