"""Read images from files, URLs, bytes, PIL images and arrays.

An image is an array uint8 [height, width, channels], RGB or grey. Pixels are as the file stores them: like Darknet's
decoder (stb_image) this ignores the EXIF orientation by default, drops the alpha channel without blending, and keeps
the upper byte of 16 bits. ``images.resizing`` brings an image to a network's input.
"""

from __future__ import annotations

import functools
import io
import math
import os
import struct
import tokenize
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, ImageSequence

from ..errors import DataError
from ..messages import get_logger
from .limits import MAX_PIXELS
from .stdin import open_file
from .urls import is_http, read_limited, read_url

if TYPE_CHECKING:
    import torch

ImageArray = npt.NDArray[np.uint8]  # [height, width, channels]
_Bytes = bytes | bytearray | memoryview
ImageSource = Union[str, os.PathLike[str], _Bytes, IO[bytes], Image.Image, npt.NDArray[Any], "torch.Tensor"]

# Pillow also has readers that run another program (EPS) or the code of other packages (HDF5, ...): none of them is
# used, whatever a file contains. Formats that are recognised by their first bytes come first.
FORMATS = (
    *("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000"),
    *("DIB", "DDS", "ICO", "PCX", "PSD", "QOI", "SGI", "SUN", "TGA"),
)

_log = get_logger(__name__)

_GREY_WEIGHTS = np.array([77, 150, 29], dtype=np.uint16)  # stb_image's, in 256ths
_16_BIT_FORMATS = ("PPM", "PNG")  # which have no images of 32 bits
DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, OverflowError, MemoryError, struct.error),
    Image.DecompressionBombError,
)
_MULTICHANNEL_HINT = "save it as .npy [height, width, channels] or as a TIFF with a grey page per channel"
_END_OF_JPEG = b"\xff\xd9"
_ORIENTATION = 0x0112  # EXIF tag; 1: upright


def read_image(
    source: ImageSource, channels: int | None = 3, *, exif: bool = False, max_pixels: int = MAX_PIXELS
) -> ImageArray:
    """Read an image.

    A JPEG that lacks its last bytes is read with a warning, and its missing part is grey, as in Darknet and OpenCV.

    Args:
        source: a path (a format of ``FORMATS``, or .npy), an HTTP URL, the bytes of a file, a binary file object, a PIL
            image, an array [height, width] or [height, width, channels] of uint8 or uint16 in RGB order, or a tensor
            [channels, height, width] of uint8 or of float in 0..1, which is rounded to 8 bits.
        channels: channels of the result. Grey is repeated to three channels, colour is converted to one; another
            number must match the image's. A TIFF with as many grey pages is read as one image. None: those of the
            image, or its grey pages.
        exif: rotate and mirror the image as its EXIF orientation says, as Darknet's builds with OpenCV do. Pillow does
            this for TIFF in any case.
        max_pixels: refuse files with more pixels, before they are decoded.

    Returns:
        uint8 [height, width, channels].

    Raises:
        DataError: the image cannot be read, it is too large, or its channels do not match.
    """
    name = "image"
    array: object = source
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        array = _read_file(name, channels, exif, max_pixels)
    elif isinstance(source, _Bytes):
        array = _decode_content(bytes(source), name, channels, exif, max_pixels)
    elif isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or name
        try:
            array = _to_array(_oriented(source, exif), channels, max_pixels)
        except DECODING_ERRORS as error:
            raise DataError(f"{name}: broken image ({error})") from error
    elif hasattr(source, "permute"):
        array = _from_tensor(source)
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", name))
        content = source.read()
        if not isinstance(content, bytes):
            raise DataError(f"{name}: expected a file that is open in binary mode")
        array = _decode_content(content, name, channels, exif, max_pixels)
    if not isinstance(array, np.ndarray):
        raise DataError(
            f"expected a path, bytes, a PIL image, an array or a tensor for an image, got {type(source).__name__}"
        )
    try:
        pixels = _to_uint8(array)
        return pixels if channels is None else _match_channels(pixels, channels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _from_tensor(tensor: Any) -> npt.NDArray[Any]:
    """The values of a torch.Tensor [channels, height, width] as [height, width, channels]. Raises DataError."""
    if tensor.dim() != 3:
        raise DataError(f"expected an image [channels, height, width], got a tensor of shape {list(tensor.shape)}")
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        low, high = (float(tensor.min()), float(tensor.max())) if tensor.numel() else (0.0, 0.0)
        if not 0 <= low <= high <= 1:
            raise DataError(f"expected a tensor of float in 0..1, found {low:g}..{high:g}")
        array: npt.NDArray[Any] = (255 * tensor.float()).round().numpy().astype(np.uint8)
    else:
        array = tensor.numpy()
    return array.transpose(1, 2, 0)


def _read_file(name: str, channels: int | None, exif: bool, max_pixels: int) -> npt.NDArray[Any]:
    if is_http(name):
        return _decode_content(read_url(name), name, channels, exif, max_pixels)
    try:
        with open_file(name) as file:
            content = file if file.seekable() else io.BytesIO(read_limited(file, name))  # a pipe
            return _decode(content, name, channels, exif, max_pixels)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def _decode_content(content: bytes, name: str, channels: int | None, exif: bool, max_pixels: int) -> npt.NDArray[Any]:
    with io.BytesIO(content) as file:
        return _decode(file, name, channels, exif, max_pixels)


def _decode(file: IO[bytes], name: str, channels: int | None, exif: bool, max_pixels: int) -> npt.NDArray[Any]:
    """Decode an open file. Raises DataError that begins with ``name``."""
    try:
        if name.lower().endswith(".npy"):
            return _read_npy(file, max_pixels)
        image = open_image(file)
        check_size(image.size, max_pixels)
        try:
            image.load()
        except OSError:
            if image.format not in ("JPEG", "MPO"):
                raise
            image = _open_truncated_jpeg(file)
            _warn_once(f"{name}: the file ends early: the missing part of the image is grey")
        return _to_array(_oriented(image, exif), channels, max_pixels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except DECODING_ERRORS as error:
        raise DataError(f"{name}: broken image ({error})") from error


def open_image(file: IO[bytes]) -> Image.Image:
    """Open an image of one of ``FORMATS``. ``Image.open`` would apply the process-wide ``Image.MAX_IMAGE_PIXELS``."""
    name = getattr(file, "name", "")  # from which Pillow maps some pixels; content in memory has none
    start = file.read(16)
    if not start:
        raise DataError("empty file, expected an image")
    Image.preinit()
    for kind in FORMATS:
        if kind not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN.get(kind, (None, None))
        if factory is None or (accept and accept(start) is not True):
            continue
        file.seek(0)
        try:
            return factory(file, name)
        except (SyntaxError, IndexError, TypeError, struct.error):  # raised for other formats
            continue
    raise DataError(f"not an image in a format that is read: {', '.join(FORMATS)}")


def _open_truncated_jpeg(file: IO[bytes]) -> Image.Image:
    """Read a JPEG that lacks its last bytes. Raises OSError if it is broken in another way."""
    file.seek(0)
    image = open_image(io.BytesIO(file.read() + _END_OF_JPEG))
    image.load()
    return image


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise DataError if an image of (width, height) has more pixels than the limit."""
    width, height = size
    if width * height > max_pixels:
        raise DataError(
            f"{width}x{height} are {width * height:,} pixels, more than the limit of {max_pixels:,}: "
            f"raise it with max_pixels= or --max-pixels if the file is trusted"
        )


def _read_npy(file: IO[bytes], max_pixels: int) -> npt.NDArray[Any]:
    """Read an array, after its header has been compared with the size of the file."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read_header(file)
    except (tokenize.TokenError, RecursionError) as error:  # of numpy's parser of headers
        raise DataError(f"broken header ({error})") from error
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    expected = math.prod(shape) * dtype.itemsize
    if expected > size and not dtype.hasobject:
        raise DataError(f"expected {expected} bytes for an array {list(shape)}, found {size}")
    if len(shape) >= 2:
        check_size((shape[1], shape[0]), max_pixels)
    file.seek(0)
    array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    return array


def exif_orientation(exif: Image.Exif) -> int:
    """Return the orientation of EXIF data, 1..8; 1 (upright) if there is none."""
    value = exif.get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _oriented(image: Image.Image, exif: bool) -> Image.Image:
    """The image, rotated by its EXIF orientation if ``exif``; otherwise as it is stored, with a warning."""
    if exif:
        # exif_transpose copies an upright image, too, and of several pages the first.
        return image if exif_orientation(image.getexif()) == 1 else ImageOps.exif_transpose(image)
    if "exif" in image.info and exif_orientation(image.getexif()) != 1:
        _warn_once(
            "there are images with an EXIF orientation, which is ignored: exif=True or --exif applies it; "
            "darknet-py check names those of a data set"
        )
    return image


@functools.lru_cache(maxsize=4096)  # training reads an image many times
def _warn_once(message: str) -> None:
    _log.warning("%s", message)


def _to_array(image: Image.Image, channels: int | None, max_pixels: int) -> npt.NDArray[Any]:
    """The values of a PIL image: grey, RGB or RGBA, 8 or 16 bits; or its grey pages as channels."""
    is_grey = image.mode == "L" or image.mode.startswith("I;16")
    if is_grey and channels not in (1, 3):
        pages = getattr(image, "n_frames", 1)  # Pillow looks through the whole file for them
        if pages > 1 and channels in (None, pages):
            size = image.size
            check_size((size[0], size[1] * pages), max_pixels)
            return np.stack([_page(page, size) for page in ImageSequence.Iterator(image)], axis=-1)
    if image.mode == "I":  # Pillow's mode for 32 bits, and for the 16 bits of a PGM and, in some versions, a PNG
        if image.format not in _16_BIT_FORMATS:
            raise DataError("expected an image of 8 or 16 bits, found 32, whose range is unknown: scale and convert it")
        return np.array(image).astype(np.uint16)
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode in ("1", "L", "RGB", "RGBA", "F"):
        return np.array(image.convert("L") if image.mode == "1" else image)
    if image.mode in ("P", "PA", "LA", "La", "RGBa"):  # RGBA keeps Pillow from warning or blending
        return np.array(image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _page(page: Image.Image, size: tuple[int, int]) -> npt.NDArray[Any]:
    """The values of a page, which has not been decoded, of an image of this size."""
    if page.size != size:
        raise DataError(f"expected pages of one size, found {size[0]}x{size[1]} and {page.width}x{page.height}")
    return np.array(page)


def _to_uint8(array: npt.NDArray[Any]) -> ImageArray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not array.size:
        raise DataError(f"expected an image [height, width, channels], got the shape {list(array.shape)}")
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"expected pixels of uint8 (0..255) or uint16, got {array.dtype}: scale and convert them")
    return array


def _match_channels(array: ImageArray, channels: int) -> ImageArray:
    image_channels = array.shape[2]
    if image_channels == channels:
        return array
    if image_channels not in (1, 3, 4) or channels not in (1, 3):
        hint = f"; for {channels} channels {_MULTICHANNEL_HINT}" if channels not in (1, 3) else ""
        raise DataError(f"expected an image of {channels} channels, as the network reads, found {image_channels}{hint}")
    if image_channels == 1:
        return np.repeat(array, 3, axis=2)
    colour = array[:, :, :3]
    return colour if channels == 3 else ((colour @ _GREY_WEIGHTS) >> 8).astype(np.uint8)[:, :, None]
