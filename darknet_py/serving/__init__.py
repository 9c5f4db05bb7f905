"""Serve a detector over HTTP: ``create_app`` for any ASGI server, ``server.serve`` for uvicorn.

batcher        requests of many threads become batches of one thread that runs the network
detection      what is batched: images become boxes, each with the options of its request
service        a detector behind a batcher, its metrics and the state of a server that starts and drains
queries        query strings become options
requests       bodies become images, within the limits
app            the endpoints (Starlette)
responses      what all answers have in common: headers, errors, counts
page           the page for a browser
metrics        counters for Prometheus
limits         what one server accepts
video_feed     the frames of a video, detected and sent to all who listen
server         a process: socket, signals, connections (uvicorn)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .limits import Limits

__all__ = ["Limits", "create_app"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562): only the endpoints need Starlette."""
    if name == "create_app":
        from .app import create_app

        return create_app
    if name == "Limits":
        from .limits import Limits

        return Limits
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
