"""Reading images, and Darknet's resizing to the last bit."""

import pathlib

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darknet_py.errors import DataError
from darknet_py.images import reading

Floats = npt.NDArray[np.float32]
RNG = np.random.default_rng(7)


def noise(*shape: int) -> reading.ImageArray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def by_the_book(source: Floats, width: int, height: int) -> Floats:
    """Darknet's rule pixel by pixel, every step rounded to float32."""
    f = np.float32
    channels, rows, columns = source.shape
    if (columns, rows) == (width, height):
        return source
    across, down = f(columns - 1) / f(max(width - 1, 1)), f(rows - 1) / f(max(height - 1, 1))
    part = np.zeros((channels, rows, width), f)
    out = np.zeros((channels, height, width), f)
    for c in range(width):
        if c == width - 1 or columns == 1:
            part[:, :, c] = source[:, :, -1]
            continue
        at = f(c) * across
        near = int(at)
        part[:, :, c] = (f(1) - (at - f(near))) * source[:, :, near] + (at - f(near)) * source[:, :, near + 1]
    for r in range(height):
        at = f(r) * down
        near = int(at)
        out[:, r] = (f(1) - (at - f(near))) * part[:, near]
        if r < height - 1 and rows > 1:
            out[:, r] += (at - f(near)) * part[:, near + 1]
    return out


def in_bulk(im: Floats, w: int, h: int) -> Floats:
    """The rule in numpy, as it was held against C Darknet and found equal to the last bit."""
    f = np.float32
    rows, columns = im.shape[1:]
    q = np.arange(w, dtype=f) * f(f(columns - 1) / f(w - 1))
    ix = q.astype(int)
    dx = (q - ix.astype(f)).astype(f)
    part = (1 - dx) * im[:, :, np.minimum(ix, columns - 1)] + dx * im[:, :, np.minimum(ix + 1, columns - 1)]
    part[:, :, -1] = im[:, :, -1]
    s = np.arange(h, dtype=f) * f(f(rows - 1) / f(h - 1))
    iy = s.astype(int)
    dy = (s - iy.astype(f)).astype(f)[None, :, None]
    out: Floats = (1 - dy) * part[:, iy]
    out[:, :-1] += (dy * part[:, np.minimum(iy + 1, rows - 1)])[:, :-1]
    return out


def bits(values: torch.Tensor | Floats) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(values).view(np.uint32)


def unit(image: reading.ImageArray) -> Floats:
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(2, 40))
def test_resize_is_the_rule_pixel_by_pixel(rows: int, columns: int, width: int, height: int) -> None:
    image = np.random.default_rng(rows * columns).integers(0, 256, (rows, columns, 2), dtype=np.uint8)
    wanted = bits(by_the_book(unit(image), width, height))
    assert np.array_equal(bits(reading.resize(reading.planes(image), width, height)), wanted)
    assert np.array_equal(bits(reading.resize(torch.from_numpy(unit(image)), width, height)), wanted)


@pytest.mark.parametrize(
    ("rows", "columns", "width", "height"),
    [(576, 768, 416, 416), (480, 640, 608, 704), (333, 500, 640, 320), (720, 1280, 544, 544), (37, 61, 512, 512)],
)
def test_resize_equals_the_form_held_against_c(rows: int, columns: int, width: int, height: int) -> None:
    image = noise(rows, columns, 3)
    found = reading.resize(reading.planes(image), width, height)
    assert found.is_contiguous()
    assert np.array_equal(bits(found), bits(in_bulk(unit(image), width, height)))


@pytest.mark.parametrize(("rows", "height", "black"), [(480, 704, True), (720, 544, True), (480, 608, False)])
def test_resize_is_bilinear_with_aligned_corners_but_for_the_last_row(rows: int, height: int, black: bool) -> None:
    image = torch.from_numpy(unit(noise(rows, 30, 3))) / 2 + 0.5
    found = reading.resize(image, 41, height)
    wanted = torch.nn.functional.interpolate(image[None], (height, 41), mode="bilinear", align_corners=True)[0]
    assert torch.allclose(found[:, :-1], wanted[:, :-1], atol=1e-4)
    assert bool((found[:, -1] < 1e-3).all()) is black
    assert torch.allclose(found[:, -1], wanted[:, -1], atol=1e-4) is not black


def test_resize_to_one_row_or_column_takes_the_last_and_to_the_same_size_copies() -> None:
    image = torch.from_numpy(unit(noise(9, 7, 3)))
    assert torch.equal(reading.resize(image, 7, 1), image[:, -1:])
    assert torch.equal(reading.resize(image, 1, 9), image[:, :, -1:])
    with pytest.raises(DataError, match="cannot resize an image of 7x9 to 0x5"):
        reading.resize(image, 0, 5)

    same = reading.resize(image, 7, 9)
    assert torch.equal(same, image)
    assert same.data_ptr() != image.data_ptr()


def test_every_byte_becomes_darknets_float() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    exact = (np.arange(256) / 255.0).astype(np.float32).reshape(1, 16, 16)
    assert np.array_equal(bits(reading.prepare(ramp, (16, 16))), bits(exact))


def test_letterbox_centres_on_grey() -> None:
    image = noise(30, 61, 3)
    found = reading.prepare(image, (40, 64), letterbox=True)
    height = 30 * 40 // 61
    top = (64 - height) // 2
    assert found.shape == (3, 64, 40)
    assert torch.equal(found[:, top : top + height], reading.resize(reading.planes(image), 40, height))
    assert bool((found[:, :top] == 0.5).all() and (found[:, top + height :] == 0.5).all())
    with pytest.raises(DataError, match="an image of 2000x1 is too thin"):
        reading.prepare(noise(1, 2000, 3), (64, 64), letterbox=True)


def test_centre_crop_scales_the_short_side_and_cuts_the_long_one() -> None:
    wide = reading.planes(noise(30, 50, 3))
    assert torch.equal(reading.centre_crop(wide, 20, 20), reading.resize(wide, 33, 20)[:, :, 6:26])
    tall = reading.planes(noise(50, 30, 3))
    assert torch.equal(reading.centre_crop(tall, 20, 20), reading.resize(tall, 20, 33)[:, 6:26])
    beyond = reading.centre_crop(reading.planes(noise(20, 20, 3)), 20, 25)
    assert torch.equal(beyond[:, 0], beyond[:, 2])
    assert torch.equal(beyond[:, 22], beyond[:, 24])


def test_load_takes_paths_images_and_arrays_alike(tmp_path: pathlib.Path) -> None:
    image = noise(6, 9, 3)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", image)
    for source in (tmp_path / "a.png", str(tmp_path / "a.npy"), Image.fromarray(image), image, image[::-1][::-1]):
        found = reading.load(source)
        assert found.dtype == np.uint8
        assert np.array_equal(found, image)
        reading.prepare(found, (4, 4))


def test_grey_and_colour_become_what_the_network_reads() -> None:
    grey, colour = noise(4, 5), noise(4, 5, 3)
    assert np.array_equal(reading.load(grey), np.stack([grey] * 3, axis=2))
    assert np.array_equal(reading.load(grey, 1), grey[:, :, None])
    red, green, blue = (int(v) for v in colour[1, 2])
    assert reading.load(colour, 1)[1, 2, 0] == (77 * red + 150 * green + 29 * blue) >> 8
    assert reading.load(np.full((2, 2, 3), 255, np.uint8), 1).min() == 255


def test_alpha_and_palettes_give_the_stored_colours(tmp_path: pathlib.Path) -> None:
    alpha = noise(4, 5, 4)
    assert np.array_equal(reading.load(alpha), alpha[:, :, :3])
    assert np.array_equal(reading.load(Image.fromarray(alpha)), alpha[:, :, :3])
    assert np.array_equal(reading.load(alpha, 4), alpha)
    indexed = Image.fromarray(noise(8, 8) % 4).convert("L")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    indexed.save(tmp_path / "p.png", transparency=bytes([0, 128, 255, 255]))
    with Image.open(tmp_path / "p.png") as stored:
        assert stored.mode == "P"
        table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)
        wanted = table[np.array(stored)]
    assert np.array_equal(reading.load(tmp_path / "p.png"), wanted)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_the_upper_byte_of_16_bits_counts(tmp_path: pathlib.Path, suffix: str) -> None:
    deep = RNG.integers(0, 65536, (5, 6), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"d.{suffix}")
    assert np.array_equal(reading.load(tmp_path / f"d.{suffix}", 1)[:, :, 0], deep >> 8)
    assert np.array_equal(reading.load(deep, 1)[:, :, 0], deep >> 8)


def test_orientation_is_ignored(tmp_path: pathlib.Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(8, 16, 3)).save(tmp_path / "turned.jpg", exif=exif)
    assert reading.load(tmp_path / "turned.jpg").shape == (8, 16, 3)


def test_many_channels_come_from_arrays_and_pages(tmp_path: pathlib.Path) -> None:
    spectrum = noise(4, 6, 5)
    np.save(tmp_path / "s.npy", spectrum)
    assert np.array_equal(reading.load(tmp_path / "s.npy", 5), spectrum)
    pages = [Image.fromarray(spectrum[:, :, band]) for band in range(5)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    assert np.array_equal(reading.load(tmp_path / "s.tif", 5), spectrum)
    assert reading.prepare(spectrum, (8, 8)).shape == (5, 8, 8)


def broken_files(folder: pathlib.Path) -> dict[str, str]:
    """Name of a file that is no good to what the error says about it."""
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
        "spectrum.npy": "the network reads 3 channels, the image has 7",
        "folder.jpg": "directory|Permission",
    }


def test_refusals_name_the_file_and_the_reason(tmp_path: pathlib.Path) -> None:
    for name, reason in broken_files(tmp_path).items():
        with pytest.raises(DataError, match=rf"{name}: .*({reason})") as caught:
            reading.load(tmp_path / name)
        assert str(caught.value).count(name) == 1, caught.value


def test_refusals_of_what_is_in_memory() -> None:
    with pytest.raises(DataError, match="got NoneType"):
        reading.load(None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="reads 5 channels, the image has 3; for 5 channels save it as"):
        reading.load(noise(4, 4, 3), 5)
