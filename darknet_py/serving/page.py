"""The page that a browser shows: one file of the package, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources

try:
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response
except ImportError as error:
    raise ImportError("serving needs Starlette: pip install 'darknet-torch[serve]'") from error


async def page_response(request: Request) -> Response:
    """Return the page, with a policy that lets it run its own script and connect to this server only."""
    text, policy = _page()
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


@functools.cache
def _page() -> tuple[str, str]:
    """The page, and its Content-Security-Policy, which names its script and style by their hashes."""
    text = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    sources = {tag: _hash_of(text, tag) for tag in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _hash_of(text: str, tag: str) -> str:
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
