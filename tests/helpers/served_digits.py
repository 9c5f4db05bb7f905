"""A served detector of digits: images as files, and an application for tests."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

from PIL import Image

from darknet_py.demo import digits
from darknet_py.detector import Detector


@functools.cache
def detector() -> Detector:
    """The detector of digits that is in the package."""
    return Detector("digits")


@functools.cache
def png(number: int = 0) -> bytes:
    """A PNG with digits, 96x96."""
    image, _ = digits.render_image(digits.load_samples()["valid"], number=number)
    return encode(Image.fromarray(image), "PNG")


def wide_png() -> bytes:
    """A PNG of the digits, 150x80: neither the size nor the shape of the network's input."""
    with Image.open(io.BytesIO(png())) as image:
        return encode(image.resize((150, 80)), "PNG")


def encode(image: Image.Image, kind: str) -> bytes:
    """An image as the bytes of a file."""
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def jpeg(number: int = 0) -> bytes:
    """A JPEG of the digits."""
    with Image.open(io.BytesIO(png(number))) as image:
        return encode(image, "JPEG")


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes that states a large size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def expected(content: bytes, **options: Any) -> dict[str, Any]:
    """What the detector finds, as JSON; ``options`` of ``Detector.with_options``."""
    return detector().with_options(**options)(content).to_dict()


def detect(client: Any, content: bytes, query: str = "", **options: Any) -> Any:
    """The JSON that a client of the application gets for an image."""
    response = client.post(f"/v1/detect?{query}", content=content, **options)
    assert response.status_code == 200, response.text
    return response.json()


def error(response: Any) -> str:
    """The sentence of a refusal."""
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    assert list(content) == ["error"]
    assert len(content["error"]) < 300
    return str(content["error"])
