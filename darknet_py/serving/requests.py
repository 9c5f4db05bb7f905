"""Bodies of requests become the bytes of an image, within the limits. What is refused has a status and a sentence."""

from __future__ import annotations

import io
from email.message import Message

from ..errors import DarknetError, DataError, shorten
from ..images.reading import DECODING_ERRORS, check_size, open_image

_RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # the last is what curl --data-binary says
_ACCEPTED = "image/*, application/octet-stream or multipart/form-data"


class RequestError(DarknetError):
    """A request that is refused.

    Attributes:
        status: the status of the response.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def image_bytes(body: bytes, content_type: str) -> bytes:
    """Return the image in a body: the body itself, or the file of a form.

    Args:
        body: the body.
        content_type: value of the header; empty: an image.

    Raises:
        RequestError: 415 for another type, 400 for an empty body or a form without a file.
    """
    header = Message()
    header["content-type"] = content_type
    kind = header.get_content_type() if content_type else ""
    if kind == "multipart/form-data":
        body = _file_of_form(body, str(header.get_param("boundary", "")))
    elif kind not in _RAW and not kind.startswith("image/"):
        raise RequestError(415, f"Content-Type: expected {_ACCEPTED}, found {shorten(content_type)}")
    if not body:
        raise RequestError(400, "expected an image in the body, found no bytes")
    return body


def _file_of_form(body: bytes, boundary: str) -> bytes:
    """The content of the one file of a multipart form (RFC 7578)."""
    if not 0 < len(boundary) <= 70:
        raise RequestError(400, "Content-Type: expected multipart/form-data with a boundary of 1 to 70 characters")
    mark = b"\r\n--" + boundary.encode("utf-8", "replace")
    parts = (b"\r\n" + body).split(mark)
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise RequestError(400, "multipart/form-data: expected parts between boundaries, found a form that ends early")
    files = []
    for part in parts[1:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if blank and _has_file_name(head):
            files.append(content)
    if len(files) != 1:
        raise RequestError(400, f"multipart/form-data: expected one file, found {len(files)}")
    return files[0]


def _has_file_name(head: bytes) -> bool:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            header = Message()
            header["content-disposition"] = (
                value.strip().decode("utf-8", "replace").replace("\r", " ").replace("\n", " ")
            )
            return header.get_param("filename", header="content-disposition") is not None
    return False


def check_image(content: bytes, max_pixels: int) -> None:
    """Look at an image's header before anything is decoded.

    Raises:
        RequestError: 400 if it is no image, 413 if it has more than ``max_pixels`` pixels.
    """
    try:
        size = open_image(io.BytesIO(content)).size
    except DECODING_ERRORS as error:
        known = isinstance(error, DataError)
        raise RequestError(400, f"image: {error}" if known else f"image: broken image ({error})") from error
    try:
        check_size(size, max_pixels)
    except DataError as error:
        width, height = size
        message = f"image: expected at most {max_pixels:,} pixels, found {width}x{height} = {width * height:,}"
        raise RequestError(413, message) from error
