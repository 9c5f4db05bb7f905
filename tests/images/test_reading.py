"""Reading images from files, PIL images and arrays."""

import pathlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from darknet_py.errors import DataError
from darknet_py.images import resizing
from darknet_py.images.reading import ImageArray, read_image

Floats = npt.NDArray[np.float32]
RNG = np.random.default_rng(7)


def noise(*shape: int) -> ImageArray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_paths_pil_images_and_arrays_give_the_same_image(tmp_path: pathlib.Path) -> None:
    image = noise(6, 9, 3)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", image)
    for source in (tmp_path / "a.png", str(tmp_path / "a.npy"), Image.fromarray(image), image, image[::-1][::-1]):
        image_read = read_image(source)
        assert image_read.dtype == np.uint8
        assert np.array_equal(image_read, image)
        resizing.prepare_input(image_read, (4, 4))


def test_grey_and_colour_are_converted_to_the_networks_channels() -> None:
    grey, colour = noise(4, 5), noise(4, 5, 3)
    assert np.array_equal(read_image(grey), np.stack([grey] * 3, axis=2))
    assert np.array_equal(read_image(grey, 1), grey[:, :, None])
    red, green, blue = (int(v) for v in colour[1, 2])
    assert read_image(colour, 1)[1, 2, 0] == (77 * red + 150 * green + 29 * blue) >> 8
    assert read_image(np.full((2, 2, 3), 255, np.uint8), 1).min() == 255


def test_alpha_is_dropped_and_palettes_are_resolved(tmp_path: pathlib.Path) -> None:
    alpha = noise(4, 5, 4)
    assert np.array_equal(read_image(alpha), alpha[:, :, :3])
    assert np.array_equal(read_image(Image.fromarray(alpha)), alpha[:, :, :3])
    assert np.array_equal(read_image(alpha, 4), alpha)
    indexed = Image.fromarray(noise(8, 8) % 4).convert("L")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    indexed.save(tmp_path / "p.png", transparency=bytes([0, 128, 255, 255]))
    with Image.open(tmp_path / "p.png") as stored:
        assert stored.mode == "P"
        table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)
        expected = table[np.array(stored)]
    assert np.array_equal(read_image(tmp_path / "p.png"), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_reduced_to_the_upper_byte(tmp_path: pathlib.Path, suffix: str) -> None:
    deep = RNG.integers(0, 65536, (5, 6), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"d.{suffix}")
    assert np.array_equal(read_image(tmp_path / f"d.{suffix}", 1)[:, :, 0], deep >> 8)
    assert np.array_equal(read_image(deep, 1)[:, :, 0], deep >> 8)


def test_the_exif_orientation_is_ignored(tmp_path: pathlib.Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(8, 16, 3)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (8, 16, 3)


def test_more_than_four_channels_are_read_from_npy_and_tiff_pages(tmp_path: pathlib.Path) -> None:
    spectrum = noise(4, 6, 5)
    np.save(tmp_path / "s.npy", spectrum)
    assert np.array_equal(read_image(tmp_path / "s.npy", 5), spectrum)
    pages = [Image.fromarray(spectrum[:, :, band]) for band in range(5)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_image(tmp_path / "s.tif", 5), spectrum)
    assert resizing.prepare_input(spectrum, (8, 8)).shape == (5, 8, 8)


def broken_files(folder: pathlib.Path) -> dict[str, str]:
    """Write files that cannot be read; returns the expected error of each."""
    Image.fromarray(noise(40, 40, 3)).save(folder / "good.jpg")
    Image.fromarray(noise(40, 40, 3)).save(folder / "good.png")
    for kind in ("jpg", "png"):
        content = (folder / f"good.{kind}").read_bytes()
        (folder / f"cut.{kind}").write_bytes(content[: len(content) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image at all")
    (folder / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "floats.npy", np.zeros((4, 4, 3), np.float32))
    np.save(folder / "line.npy", np.zeros(4, np.uint8))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "spectrum.npy", noise(4, 4, 7))
    Image.fromarray(np.full((3, 3), 70000, np.int32)).save(folder / "deep.tif")
    Image.fromarray(np.zeros((3, 3), np.float32)).save(folder / "float.tif")
    (folder / "folder.jpg").mkdir()
    return {
        "missing.jpg": "No such file",
        "empty.jpg": "empty file",
        "text.jpg": "not an image in a format that Pillow reads",
        "cut.jpg": "broken image",
        "cut.png": "broken image",
        "broken.npy": "broken image",
        "objects.npy": "broken image",
        "floats.npy": "expected pixels of uint8 .* got float32",
        "float.tif": "expected pixels of uint8 .* got float32",
        "deep.tif": "of 8 or 16 bits, found 32",
        "line.npy": r"\[height, width, channels\], got the shape",
        "spectrum.npy": "expected an image of 3 channels, as the network reads, found 7",
        "folder.jpg": "directory|Permission",
    }


def test_the_error_names_the_file_and_the_reason(tmp_path: pathlib.Path) -> None:
    for name, reason in broken_files(tmp_path).items():
        with pytest.raises(DataError, match=rf"{name}: .*({reason})") as caught:
            read_image(tmp_path / name)
        assert str(caught.value).count(name) == 1, caught.value


def test_objects_and_arrays_that_are_not_images_are_refused() -> None:
    with pytest.raises(DataError, match="got NoneType"):
        read_image(None)  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match="an image of 5 channels, as the network reads, found 3; for 5 channels save it as"
    ):
        read_image(noise(4, 4, 3), 5)
