"""The endpoints, as a Starlette application that any ASGI server runs.

POST /v1/detect          an image in, boxes out
GET  /v1/model           what is served
GET  /v1/stream.mjpg     the frames of a video with their boxes
GET  /v1/events          the boxes of these frames, as server-sent events
GET  /healthz            ready or draining
GET  /metrics            Prometheus
GET  /                   a page to try it
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .._typing import StrPath
from ..detector import Detector
from ..errors import DataError
from ..messages import get_logger
from ..results.results import Results
from .batcher import DeadlineError, DrainingError, QueueFullError
from .limits import Limits
from .metrics import CONTENT_TYPE
from .page import page_response
from .queries import parse_query
from .requests import RequestError, image_bytes
from .responses import ResponseFrame, error_response
from .service import DetectionService
from .video_feed import VideoFeed

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route
except ImportError as error:
    raise ImportError("serving needs Starlette: pip install 'darknet-torch[serve]'") from error

if TYPE_CHECKING:
    from starlette.types import ExceptionHandler

_log = get_logger(__name__)
_RETRY = {"Retry-After": "1"}  # seconds
_STREAMS = ("/v1/stream.mjpg", "/v1/events")
_UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # by browsers, by nginx
_BOUNDARY = "frame"


def create_app(
    detector: Detector,
    *,
    limits: Limits | None = None,
    weights: StrPath | None = None,
    source: StrPath | int | None = None,
    allowed_hosts: Collection[str] | None = None,
) -> Starlette:
    """Create an ASGI application that serves a detector.

    Args:
        detector: the detector, whose options are the defaults of requests.
        limits: what is accepted; None: the defaults of ``Limits``.
        weights: file of the weights, whose SHA-256 is stated by ``/v1/model``.
        source: a video, see ``video.reader.open_video``, for ``/v1/stream.mjpg`` and ``/v1/events``.
        allowed_hosts: names that the Host header may have, besides IP addresses; None: any name.

    Returns:
        The application. Its ``state.service`` is the ``DetectionService``.

    Raises:
        ImportError: Starlette is not installed.
        DarknetError: the engine does not run, or the video cannot be opened.
    """
    service = DetectionService(detector, limits or Limits(), weights, source)
    routes = [
        Route("/v1/detect", _detect, methods=["POST"]),
        Route("/v1/model", _model),
        Route("/v1/stream.mjpg", _stream),
        Route("/v1/events", _events),
        Route("/healthz", _health),
        Route("/metrics", _metrics),
        Route("/", page_response),
    ]
    handlers: dict[type[Exception] | int, ExceptionHandler] = {
        RequestError: _request_error,
        DataError: _bad_request,
        QueueFullError: _unavailable,
        DrainingError: _unavailable,
        DeadlineError: _too_late,
        HTTPException: _http_error,
        Exception: _internal_error,
    }
    paths = {route.path for route in routes}
    hosts = None if allowed_hosts is None else {host.lower() for host in allowed_hosts}
    frame = Middleware(ResponseFrame, metrics=service.metrics, paths=paths, streams=_STREAMS, hosts=hosts)
    app = Starlette(routes=routes, middleware=[frame], exception_handlers=handlers, lifespan=_lifespan)
    app.router.redirect_slashes = False  # a redirect would leave out the prefix of a reverse proxy
    app.state.service = service
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    await run_in_threadpool(app.state.service.close)


async def _detect(request: Request) -> Response:
    """Boxes of the image in the body, in the JSON format of ``darknet-py detect --jsonl``."""
    service: DetectionService = request.app.state.service
    if service.is_draining:
        raise DrainingError("the server is shutting down")
    if service.is_full:  # known before the body is read
        raise QueueFullError("too many requests wait")
    options = parse_query(request.query_params.multi_items())
    detector = service.detector_for(options)
    try:
        body = await _read_body(request, service.limits)
    except asyncio.CancelledError as error:  # by the server, when the time of the end is over
        if not service.is_draining:
            raise
        raise DrainingError("the server is shutting down") from error
    content = image_bytes(body, request.headers.get("content-type", ""))
    del body
    timeout = service.limits.timeout
    future = asyncio.wrap_future(service.submit(content, detector, timeout))
    try:
        result: Results = await asyncio.wait_for(future, timeout)
    except TimeoutError as error:
        raise DeadlineError(f"the image was not computed within {timeout:g} s") from error
    return JSONResponse((result.clip() if options.clip else result).to_dict())


async def _read_body(request: Request, limits: Limits) -> bytes:
    """Read a body. Raises RequestError: 413 if it is too long, 408 if it takes too long, 400 if it ends early."""
    too_long = RequestError(413, f"expected a body of at most {limits.max_body:,} bytes, found more")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > limits.max_body:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout):
            async for part in request.stream():
                body += part
                if len(body) > limits.max_body:
                    raise too_long
    except TimeoutError as error:
        message = f"expected the whole body within {limits.body_timeout:g} s, found {len(body):,} bytes"
        raise RequestError(408, message) from error
    except ClientDisconnect as error:
        raise RequestError(400, "the connection was closed before the end of the body") from error
    return bytes(body)


async def _model(request: Request) -> Response:
    return JSONResponse(request.app.state.service.describe())


async def _stream(request: Request) -> Response:
    """The frames with their boxes, one JPEG after the other, which browsers show as a video."""

    async def parts() -> AsyncIterator[bytes]:
        async for frame in feed.listen(with_image=True):
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}\r\n\r\n"
            yield head.encode() + frame.jpeg + b"\r\n"

    feed = _feed(request)
    return _endless(request, parts(), f"multipart/x-mixed-replace; boundary={_BOUNDARY}")


async def _events(request: Request) -> Response:
    """The boxes of each frame as server-sent events, which ``EventSource`` reads; the last one is ``end``."""

    async def events() -> AsyncIterator[str]:
        async for frame in feed.listen(with_image=False):
            yield f"event: detections\ndata: {frame.event}\n\n"
        yield "event: end\ndata: {}\n\n"

    feed = _feed(request)
    return _endless(request, events(), "text/event-stream")


def _endless(request: Request, parts: AsyncIterator[bytes] | AsyncIterator[str], media_type: str) -> Response:
    """Send parts as they come; to HEAD the header only."""
    if request.method == "HEAD":
        return Response(media_type=media_type, headers=_UNBUFFERED)
    return StreamingResponse(parts, media_type=media_type, headers=_UNBUFFERED)


def _feed(request: Request) -> VideoFeed:
    """The video. Raises RequestError if there is none, QueueFullError if too many receive it."""
    service: DetectionService = request.app.state.service
    if service.feed is None:
        raise RequestError(404, "this server has no video: start it with --source")
    if service.is_draining:
        raise DrainingError("the server is shutting down")
    service.feed.require_place()
    return service.feed


async def _health(request: Request) -> Response:
    draining = request.app.state.service.is_draining
    return JSONResponse({"status": "draining" if draining else "ready"}, 503 if draining else 200)


async def _metrics(request: Request) -> Response:
    return Response(request.app.state.service.metrics.to_text(), media_type=CONTENT_TYPE)


async def _request_error(request: Request, error: Exception) -> Response:
    return error_response(getattr(error, "status", 400), str(error))


async def _bad_request(request: Request, error: Exception) -> Response:
    return error_response(400, str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    return error_response(503, str(error), _RETRY)


async def _too_late(request: Request, error: Exception) -> Response:
    return error_response(504, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 500), getattr(error, "headers", None)
    sentences = {
        404: f"there is no {request.url.path}: expected one of {', '.join(_paths(request))}",
        405: f"{request.method} is not a method of {request.url.path}",
    }
    return error_response(status, sentences.get(status, str(error)), headers)


def _paths(request: Request) -> list[str]:
    return [route.path for route in request.app.routes]


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(500, "the image could not be computed; the server's log says why")
