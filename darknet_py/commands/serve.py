"""Serve a detector over HTTP, with a page to try it.

    darknet-py serve yolov4-tiny
    darknet-py serve my.cfg my.weights --names my.names --port 9000 --max-batch 16
    darknet-py serve yolov4-tiny --source rtsp://camera/stream
    curl --data-binary @photo.jpg 'http://127.0.0.1:8000/v1/detect?conf=0.4&classes=person'

POST an image to /v1/detect; / is a page for a browser, /v1/model says what is served, /metrics is for Prometheus.
Requests that wait for the network share its forward passes. Only programs of this machine reach the server unless
--host says otherwise. SIGTERM or Ctrl-C answers what was accepted, and ends with exit status 0."""

from __future__ import annotations

import argparse
import sys

from ..errors import DarknetError
from ..serving.limits import Limits
from . import _detection, _model, _options

_DEFAULT = Limits()
_LOCAL = ("127.0.0.1", "localhost", "::1")
_MAX_PIXELS = 2**25  # decoding takes 10 bytes per pixel in each of the threads


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "model", metavar="MODEL", help=f"a cfg file, a checkpoint, an exported file, or {_options.NAME}"
    )
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", help="weights of a cfg (default: the catalogue's)")
    server = parser.add_argument_group("server")
    server.add_argument(
        "--host", default="127.0.0.1", help="address to bind; 0.0.0.0: all of this machine (default: 127.0.0.1)"
    )
    server.add_argument("--port", type=int, default=8000, metavar="N", help="port; 0: a free one (default: 8000)")
    server.add_argument(
        "--source",
        metavar="VIDEO",
        help="a video file, a camera number or a URL, for /v1/stream.mjpg and /v1/events",
    )
    server.add_argument(
        "--allowed-hosts",
        nargs="+",
        action=_options.SplitCommas,
        default=[],
        metavar="NAME",
        help="names in URLs of this server, besides localhost, HOST and addresses; *: any",
    )
    server.add_argument(
        "--drain", type=float, default=30.0, metavar="S", help="seconds for accepted requests at the end (default: 30)"
    )
    limits = parser.add_argument_group("limits")
    _options.add(limits, "--max-batch", default=_DEFAULT.max_batch)
    limits.add_argument(
        "--max-wait",
        type=float,
        default=1000 * _DEFAULT.max_wait,
        metavar="MS",
        help="milliseconds that a batch waits for requests that are being read "
        f"(default: {1000 * _DEFAULT.max_wait:g})",
    )
    _add_limit(limits, "queue", "N", "requests that wait; further ones get status 503")
    _add_limit(limits, "timeout", "S", "seconds from an image to its boxes, then status 504")
    _add_limit(limits, "body_timeout", "S", "seconds for a client to send a header, and a body")
    _add_limit(limits, "max_body", "N", "largest body in bytes")
    _add_limit(limits, "max_connections", "N", "open connections")
    _add_limit(limits, "max_streams", "N", "of these, connections that receive the video")
    _options.add(limits, "--workers", default=_DEFAULT.workers)
    # Engine auto would try the engines while requests wait, once for each number of images in a batch.
    _detection.add_boxes(parser.add_argument_group("boxes"), max_pixels=_MAX_PIXELS, engine="torch")
    _options.add_network(parser)


def _add_limit(group: argparse._ActionsContainer, field: str, metavar: str, text: str) -> None:
    """Add the option of a field of ``Limits``, with the field's type and default."""
    default = getattr(_DEFAULT, field)
    shown = f"{default:g}" if isinstance(default, float) else default
    name = f"--{field.replace('_', '-')}"
    group.add_argument(name, type=type(default), default=default, metavar=metavar, help=f"{text} (default: {shown})")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    try:
        from ..serving.app import create_app
        from ..serving.server import serve
    except ImportError as error:
        raise DarknetError(str(error)) from error

    limits = Limits(
        max_batch=args.max_batch,
        max_wait=args.max_wait / 1000,
        queue=args.queue,
        workers=args.workers,
        timeout=args.timeout,
        max_body=args.max_body,
        body_timeout=args.body_timeout,
        max_connections=args.max_connections,
        max_streams=args.max_streams,
    )
    model = _model.find_files(args)
    detector = _detection.create_detector(args, model)
    hosts = None if "*" in args.allowed_hosts else {"localhost", args.host, *args.allowed_hosts}
    app = create_app(
        detector, limits=limits, weights=model.weights or model.cfg, source=args.source, allowed_hosts=hosts
    )
    if args.host not in _LOCAL:
        print(f"darknet-py: note: {args.host}: whoever reaches this address can use the server", file=sys.stderr)
    serve(app, args.host, args.port, drain=args.drain, on_start=_print_url)
    return 0


def _print_url(url: str) -> None:
    print(f"serving at {url} (Ctrl-C: drain and stop)", file=sys.stderr, flush=True)
