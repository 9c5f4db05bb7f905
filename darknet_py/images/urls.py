"""Images at HTTP URLs: recognise and download them."""

from __future__ import annotations

import http.client
import pathlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ..errors import DataError
from ..hub.download import open_url, reason
from .limits import MAX_BYTES


def is_http(name: str) -> bool:
    """Whether a name is an HTTP or HTTPS URL."""
    return name.lower().startswith(("http://", "https://"))


def url_path(url: str) -> str:
    """Return the path of a URL, without its query; ``""`` if the URL is malformed."""
    try:
        return urllib.parse.urlsplit(url).path
    except ValueError:
        return ""


def local_path(name: str) -> str:
    """Return the path that a ``file://`` URL names; other names are returned as they are."""
    if not name.lower().startswith("file://"):
        return name
    return urllib.request.url2pathname(urllib.parse.urlsplit(name).path)


def url_suffix(url: str) -> str:
    """Return the suffix of the path of a URL in lower case, without its query: ``.png``."""
    return pathlib.PurePosixPath(url_path(url)).suffix.lower()


def read_url(url: str) -> bytes:
    """Download a file of at most ``MAX_BYTES`` bytes, following redirects. Raises DataError."""
    with _request(url) as response:
        kind = response.headers.get_content_type()  # text/plain also if the server states none
        if "Content-Type" in response.headers and kind.startswith("text/"):
            raise DataError(f"{url}: expected an image, the server sends {kind}")
        return read_limited(response, url)


def read_limited(stream: IO[bytes], name: str) -> bytes:
    """Read a stream that may have no end. Raises DataError if it has more than ``MAX_BYTES`` bytes."""
    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"{name}: expected an image of at most {MAX_BYTES:,} bytes, found more")
    return content


def content_type(url: str) -> str:
    """Return the media type that a server states, such as ``image/png``. Raises DataError."""
    with _request(url) as response:
        return str(response.headers.get_content_type())


@contextmanager
def _request(url: str) -> Iterator[Any]:
    try:
        with open_url(url) as response:
            yield response
    except DataError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise DataError(f"{url}: {reason(error)}") from error
