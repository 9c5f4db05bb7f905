"""Resizing equals Darknet's ``resize_image``, ``letterbox_image`` and centre crop, bit for bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darknet_py.errors import DataError
from darknet_py.images import resizing
from darknet_py.images.reading import ImageArray

Floats = npt.NDArray[np.float32]
RNG = np.random.default_rng(7)


def noise(*shape: int) -> ImageArray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def resize_by_loops(source: Floats, width: int, height: int) -> Floats:
    """``resize_image`` pixel by pixel, each step rounded to float32."""
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
        x = f(c) * across
        near = int(x)
        part[:, :, c] = (f(1) - (x - f(near))) * source[:, :, near] + (x - f(near)) * source[:, :, near + 1]
    for r in range(height):
        x = f(r) * down
        near = int(x)
        out[:, r] = (f(1) - (x - f(near))) * part[:, near]
        if r < height - 1 and rows > 1:
            out[:, r] += (x - f(near)) * part[:, near + 1]
    return out


def resize_in_numpy(im: Floats, w: int, h: int) -> Floats:
    """``resize_image`` in numpy, in a form that was compared with C Darknet: equal bit for bit."""
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


def unit(image: ImageArray) -> Floats:
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(2, 40))
def test_resize_equals_the_loop_over_pixels(rows: int, columns: int, width: int, height: int) -> None:
    image = np.random.default_rng(rows * columns).integers(0, 256, (rows, columns, 2), dtype=np.uint8)
    expected = bits(resize_by_loops(unit(image), width, height))
    assert np.array_equal(bits(resizing.resize(resizing.to_tensor(image), width, height)), expected)
    assert np.array_equal(bits(resizing.resize(torch.from_numpy(unit(image)), width, height)), expected)


@pytest.mark.parametrize(
    ("rows", "columns", "width", "height"),
    [(576, 768, 416, 416), (480, 640, 608, 704), (333, 500, 640, 320), (720, 1280, 544, 544), (37, 61, 512, 512)],
)
def test_resize_equals_the_form_that_was_compared_with_c(rows: int, columns: int, width: int, height: int) -> None:
    image = noise(rows, columns, 3)
    resized = resizing.resize(resizing.to_tensor(image), width, height)
    assert resized.is_contiguous()
    assert np.array_equal(bits(resized), bits(resize_in_numpy(unit(image), width, height)))


@pytest.mark.parametrize(("rows", "height", "black"), [(480, 704, True), (720, 544, True), (480, 608, False)])
def test_resize_is_bilinear_with_aligned_corners_except_for_the_last_row(rows: int, height: int, black: bool) -> None:
    image = torch.from_numpy(unit(noise(rows, 30, 3))) / 2 + 0.5
    resized = resizing.resize(image, 41, height)
    expected = torch.nn.functional.interpolate(image[None], (height, 41), mode="bilinear", align_corners=True)[0]
    assert torch.allclose(resized[:, :-1], expected[:, :-1], atol=1e-4)
    assert bool((resized[:, -1] < 1e-3).all()) is black
    assert torch.allclose(resized[:, -1], expected[:, -1], atol=1e-4) is not black


def test_resize_to_one_row_or_column_takes_the_last_one_and_to_the_same_size_copies() -> None:
    image = torch.from_numpy(unit(noise(9, 7, 3)))
    assert torch.equal(resizing.resize(image, 7, 1), image[:, -1:])
    assert torch.equal(resizing.resize(image, 1, 9), image[:, :, -1:])
    with pytest.raises(DataError, match="cannot resize an image of 7x9 to 0x5"):
        resizing.resize(image, 0, 5)

    same = resizing.resize(image, 7, 9)
    assert torch.equal(same, image)
    assert same.data_ptr() != image.data_ptr()


def test_every_uint8_value_is_converted_to_darknets_float() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    exact = (np.arange(256) / 255.0).astype(np.float32).reshape(1, 16, 16)
    assert np.array_equal(bits(resizing.prepare_input(ramp, (16, 16))), bits(exact))


def test_letterbox_pads_with_grey() -> None:
    image = noise(30, 61, 3)
    resized = resizing.prepare_input(image, (40, 64), letterbox=True)
    height = 30 * 40 // 61
    top = (64 - height) // 2
    assert resized.shape == (3, 64, 40)
    assert torch.equal(resized[:, top : top + height], resizing.resize(resizing.to_tensor(image), 40, height))
    assert bool((resized[:, :top] == 0.5).all() and (resized[:, top + height :] == 0.5).all())
    with pytest.raises(DataError, match="an image of 2000x1 is too thin"):
        resizing.prepare_input(noise(1, 2000, 3), (64, 64), letterbox=True)


def test_centre_crop_resizes_the_short_side_and_crops_the_long_one() -> None:
    wide = resizing.to_tensor(noise(30, 50, 3))
    assert torch.equal(resizing.centre_crop(wide, 20, 20), resizing.resize(wide, 33, 20)[:, :, 6:26])
    tall = resizing.to_tensor(noise(50, 30, 3))
    assert torch.equal(resizing.centre_crop(tall, 20, 20), resizing.resize(tall, 20, 33)[:, 6:26])
    beyond = resizing.centre_crop(resizing.to_tensor(noise(20, 20, 3)), 20, 25)
    assert torch.equal(beyond[:, 0], beyond[:, 2])
    assert torch.equal(beyond[:, 22], beyond[:, 24])


def test_only_the_rows_that_are_read_are_resized() -> None:
    tall = resizing.to_tensor(RNG.integers(0, 256, (2_000_000, 1, 3), dtype=np.uint8))
    result = resizing.resize(tall, 416, 416)
    position = torch.arange(416, dtype=torch.float32) * (torch.tensor(1_999_999, dtype=torch.float32) / 415)
    low = position.long()
    dy = (position - low)[:, None]
    column = tall[0, :, 0].float() / 255
    expected = column[low][:, None] * (1 - dy)
    expected[:-1] += column[low[:-1] + 1][:, None] * dy[:-1]
    assert torch.equal(result[0], expected.expand(416, 416))


def test_a_result_that_does_not_fit_into_memory_is_refused() -> None:
    with pytest.raises(DataError, match="an image of 1x2000000 is too thin: it would be resized to 224x448000000"):
        resizing.centre_crop(torch.zeros(3, 2_000_000, 1, dtype=torch.uint8), 224, 224)
