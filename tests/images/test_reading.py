"""Reading images from files, PIL images and arrays."""

import os
import pathlib
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from darknet_py.errors import DataError
from darknet_py.images import reading, resizing
from darknet_py.images.inspection import read_orientation
from darknet_py.images.reading import ImageArray, read_image

Floats = npt.NDArray[np.float32]
RNG = np.random.default_rng(7)


def noise(*shape: int) -> ImageArray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_bytes_and_file_objects_are_read(tmp_path: pathlib.Path) -> None:
    image = noise(6, 9, 3)
    Image.fromarray(image).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert np.array_equal(read_image(content), image)
    with (tmp_path / "a.png").open("rb") as file:
        assert np.array_equal(read_image(file), image)
    with (tmp_path / "a.png").open(encoding="latin1") as text, pytest.raises(DataError, match="in binary mode"):
        read_image(text)  # type: ignore[arg-type]


def test_content_is_not_replaced_by_a_file_of_its_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow maps the pixels of some formats from the file of an image's name."""
    image = noise(6, 9, 1)
    Image.fromarray(image[:, :, 0]).save(tmp_path / "a.pgm")
    content = (tmp_path / "a.pgm").read_bytes()
    (tmp_path / "image").write_bytes(bytes(len(content)))
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(read_image(content, 1), image)


def test_tensors_are_read_as_torchvision_returns_them() -> None:
    image = noise(6, 9, 3)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    assert np.array_equal(read_image(tensor), image)
    assert np.array_equal(read_image(tensor.float() / 255), image)
    assert np.array_equal(read_image(tensor[:1], 1), image[:, :, :1])
    with pytest.raises(DataError, match=r"expected a tensor of float in 0\.\.1, found \d"):
        read_image(tensor.float())
    with pytest.raises(DataError, match=r"image \[channels, height, width\], got a tensor of shape \[6, 9\]"):
        read_image(tensor[0])


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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_rotates_and_mirrors_as_opencv_does(tmp_path: pathlib.Path, orientation: int, suffix: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV rotates images by their EXIF orientation")
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(noise(8, 16, 3)).save(path, exif=exif)
    assert read_orientation(str(path)) == orientation
    turned = read_image(path, exif=True)
    if suffix == "jpg":  # OpenCV reads the orientation of a JPEG only
        assert np.array_equal(turned, cv2.imread(str(path))[:, :, ::-1])
    with Image.open(path) as image:
        assert np.array_equal(read_image(image, exif=True), turned)


def test_the_orientation_is_read_without_decoding(tmp_path: pathlib.Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "cut.png"
    Image.fromarray(noise(80, 160, 3)).save(path, exif=exif)
    path.write_bytes(path.read_bytes()[:1000])
    assert read_orientation(str(path)) == 6
    Image.fromarray(noise(8, 16, 3)).save(tmp_path / "turned.tif", exif=exif)
    assert read_image(tmp_path / "turned.tif").shape == (16, 8, 3)
    assert read_orientation(str(tmp_path / "turned.tif")) == 1  # Pillow turns it, so it is not ignored


def test_an_ignored_orientation_is_said_once(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    reading._warn_once.cache_clear()
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(noise(8, 16, 3)).save(tmp_path / name, exif=exif)
        read_image(tmp_path / name)
        read_image(tmp_path / name, exif=True)
    assert len(caplog.messages) == 1
    assert "EXIF orientation, which is ignored" in caplog.messages[0]
    assert read_orientation(str(tmp_path / "missing.jpg")) == 1


@pytest.mark.parametrize("progressive", [False, True])
def test_the_missing_part_of_a_jpeg_is_grey_as_in_opencv(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, progressive: bool
) -> None:
    y, x = np.mgrid[:96, :128]
    image = np.stack([2 * x, 2 * y, x + y], axis=-1).astype(np.uint8)
    path = tmp_path / "cut.jpg"
    Image.fromarray(image).save(path, progressive=progressive)
    content = path.read_bytes()
    last_scan = content.rindex(b"\xff\xda")  # the only one unless progressive
    path.write_bytes(content[: (last_scan + len(content)) // 2])
    result = read_image(path)
    assert caplog.messages == [f"{path}: the file ends early: the missing part of the image is grey"]
    assert np.abs(result[:16].astype(int) - image[:16]).mean() < (3 if not progressive else 40)
    if not progressive:
        assert (result[-8:] == 128).all()
    cv2 = pytest.importorskip("cv2", reason="compares with OpenCV")
    assert np.array_equal(result, cv2.imread(str(path))[:, :, ::-1])


def test_no_program_is_run_for_a_file_with_the_content_of_another_format(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gs").write_text(f"#!/bin/sh\necho run >> {tmp_path}/log\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "eps.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"eps\.jpg: not an image in a format that is read"):
        read_image(tmp_path / "eps.jpg")
    assert not (tmp_path / "log").exists()
    with Image.open(tmp_path / "eps.jpg") as image, pytest.raises(OSError, match=r"gs|Unable|truncated|cannot"):
        image.load()  # Pillow runs the program, so the file would have done its work
    assert (tmp_path / "log").exists()


def test_images_are_opened_with_named_formats_only() -> None:
    package = pathlib.Path(reading.__file__).parents[1]
    calls = [
        f"{path}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "Image.open(" in line and "formats=" not in line
    ]
    assert not calls


def test_more_pixels_than_the_limit_are_refused_before_decoding(tmp_path: pathlib.Path) -> None:
    big = tmp_path / "big.png"
    Image.new("1", (12000, 12000)).save(big)
    assert big.stat().st_size < 30_000
    tracemalloc.start()
    with pytest.raises(DataError, match=r"big.png: 12000x12000 are 144,000,000 pixels, more than the limit of 134,217"):
        read_image(big)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert Image.MAX_IMAGE_PIXELS == 89478485
    small = tmp_path / "small.npy"
    np.save(small, noise(10, 10, 3))
    with pytest.raises(DataError, match=r"small\.npy: 10x10 are 100 pixels, more than the limit of 99"):
        read_image(small, max_pixels=99)
    assert read_image(small, max_pixels=100).shape == (10, 10, 3)


def test_a_raised_limit_reads_what_pillow_refuses(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (8, 8, 3)


def test_more_than_four_channels_are_read_from_npy_and_tiff_pages(tmp_path: pathlib.Path) -> None:
    spectrum = noise(4, 6, 5)
    np.save(tmp_path / "s.npy", spectrum)
    assert np.array_equal(read_image(tmp_path / "s.npy", 5), spectrum)
    pages = [Image.fromarray(spectrum[:, :, band]) for band in range(5)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    for exif in (False, True):
        assert np.array_equal(read_image(tmp_path / "s.tif", 5, exif=exif), spectrum)
    assert resizing.prepare_input(spectrum, (8, 8)).shape == (5, 8, 8)


def broken_files(folder: pathlib.Path) -> dict[str, str]:
    """Write files that cannot be read; returns the expected error of each."""
    Image.fromarray(noise(40, 40, 3)).save(folder / "good.jpg")
    Image.fromarray(noise(40, 40, 3)).save(folder / "good.png")
    for kind in ("jpg", "png"):
        content = (folder / f"good.{kind}").read_bytes()
        (folder / f"cut.{kind}").write_bytes(content[: 40 if kind == "jpg" else len(content) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image at all")
    (folder / "broken.npy").write_bytes(b"\x93NUMPY")
    (folder / "header.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00{'shape': (\0".ljust(128))
    for name, side in (("lies", 10**6), ("huge", 10**30)):
        with (folder / f"{name}.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (side, side, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(12))
    np.save(folder / "floats.npy", np.zeros((4, 4, 3), np.float32))
    np.save(folder / "line.npy", np.zeros(4, np.uint8))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "spectrum.npy", noise(4, 4, 7))
    Image.fromarray(np.full((3, 3), 70000, np.int32)).save(folder / "deep.tif")
    Image.fromarray(np.full((3, 3), 200, np.int32)).save(folder / "dark.tif")
    Image.fromarray(np.zeros((3, 3), np.float32)).save(folder / "float.tif")
    (folder / "folder.jpg").mkdir()
    return {
        "missing.jpg": "No such file",
        "empty.jpg": "empty file",
        "text.jpg": "not an image in a format that is read: JPEG, PNG",
        "cut.jpg": "not an image|broken image",
        "cut.png": "broken image",
        "broken.npy": "broken image",
        "header.npy": "broken header",
        "lies.npy": r"expected 3000000000000 bytes for an array \[1000000, 1000000, 3\], found 12",
        "huge.npy": r"expected \d{60,} bytes",
        "objects.npy": "broken image",
        "floats.npy": "expected pixels of uint8 .* got float32",
        "float.tif": "expected pixels of uint8 .* got float32",
        "dark.tif": "of 8 or 16 bits, found 32, whose range is unknown",
        "deep.tif": "of 8 or 16 bits, found 32, whose range is unknown",
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
