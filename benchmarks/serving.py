"""Throughput and latency of ``darknet-py serve``, beside those of the network alone.

    python benchmarks/serving.py --seconds 10 --connections 1 4 16
    python benchmarks/serving.py --requests 100000 --seconds 60 --connections 16

A server of the digits network runs in a process of its own; Debian's wrk sends it an image over loopback, for 60 s in
total at most. ``network`` is the detector in this process, called with batches of decoded images; ``decoding`` adds the
image files. Memory is that of the server process (VmRSS) before the first request and after each row. wrk, the server
and what else runs share the cores.

Further options are those of ``darknet-py serve``, for example ``--imgsz 32 32``. With ``--requests`` the rows are
repetitions over the last number of connections, until so many requests have been sent, and the time has no other limit:
does the memory grow?
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from darknet_py._table import format_table
from darknet_py.demo import digits

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAX_SECONDS = 60.0
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "image/png"
local file = io.open("{image}", "rb")
wrk.body = file:read("*all")
file:close()
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("RESULT %d %d %d %d %d %d", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), errors.status, failed))
end
"""


class Load(NamedTuple):
    """What wrk has measured."""

    connections: int
    requests: int
    seconds: float
    p50: float  # milliseconds
    p99: float  # milliseconds
    refused: int  # answers of another status than 2xx or 3xx
    failed: int  # connections


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row (default: 10)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16], metavar="N")
    parser.add_argument("--max-batch", type=int, default=8, metavar="N")
    parser.add_argument("--requests", type=int, metavar="N", help="send N requests instead, and watch the memory")
    args, options = parser.parse_known_args()
    if shutil.which("wrk") is None:
        parser.error("needs wrk: apt install wrk")
    if args.requests is None and args.seconds * len(args.connections) > MAX_SECONDS:
        parser.error(f"expected at most {MAX_SECONDS:g} s in total")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        digits.write_dataset(folder, train=1, valid=1)
        image = next((folder / "valid").glob("*.png"))
        rows = [("", "images/s", "p50 ms", "p99 ms", "other status", "failed", "RSS MB")]
        if args.requests is None:
            for batch in (1, args.max_batch):
                for title, sources in (("network", False), ("decoding", True)):
                    rows.append((f"{title}, batch {batch}", *alone(image, batch, decode=sources), "", "", ""))
        total = 0
        with serving("--max-batch", str(args.max_batch), *options) as (port, memory):
            rows.append(("server, idle", "", "", "", "", "", f"{memory():.1f}"))
            for load in loads(args, port, image, folder / "post.lua"):
                total += load.requests
                title = f"server, {load.connections} connections" if args.requests is None else f"{total:,} requests"
                shown = (f"{load.requests / load.seconds:.0f}", f"{load.p50:.1f}", f"{load.p99:.1f}")
                rows.append((title, *shown, str(load.refused), str(load.failed), f"{memory():.1f}"))
                print("  ".join(rows[-1]), file=sys.stderr)
    print("\n".join(format_table(rows, "<>>>>>>")))
    print(f"{total:,} requests")
    return 0


def loads(args: argparse.Namespace, port: int, image: pathlib.Path, script: pathlib.Path) -> Iterator[Load]:
    """Put the server under load, a row of the table at a time."""
    if args.requests is None:
        for connections in args.connections:
            yield run_wrk(port, image, script, connections, args.seconds)
        return
    left = args.requests
    while left > 0:
        load = run_wrk(port, image, script, args.connections[-1], args.seconds)
        assert load.requests, "the server answers no more"
        left -= load.requests
        yield load


def alone(image: pathlib.Path, batch: int, *, decode: bool, seconds: float = 3.0) -> tuple[str, str, str]:
    """Images per second, and milliseconds per batch, of the detector in this process."""
    from darknet_py.detector import Detector

    detector = Detector("digits", batch=batch)
    content = image.read_bytes()
    if decode:
        return measure(lambda: detector([content] * batch), batch, seconds)
    pixels = detector.read_image(content)
    return measure(lambda: detector([pixels] * batch), batch, seconds)


def measure(function: Callable[[], object], batch: int, seconds: float) -> tuple[str, str, str]:
    """Call a function for some seconds after five calls to warm up."""
    for _ in range(5):
        function()
    times = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        function()
        times.append(time.perf_counter() - started)
    times.sort()
    p50, p99 = (1000 * times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    return f"{batch * len(times) / sum(times):.0f}", f"{p50:.1f}", f"{p99:.1f}"


@contextlib.contextmanager
def serving(*options: str) -> Iterator[tuple[int, Callable[[], float]]]:
    """A server, as its port and a function that returns its memory in MB."""
    command = [sys.executable, "-m", "darknet_py", "serve", "digits", "--port", "0", *options]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())
        assert found, process.stderr.read()
        status = pathlib.Path(f"/proc/{process.pid}/status")

        def memory() -> float:
            resident = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
            return int(resident[1]) / 1000 if resident else float("nan")

        yield int(found[1]), memory
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def run_wrk(port: int, image: pathlib.Path, script: pathlib.Path, connections: int, seconds: float) -> Load:
    """Send an image again and again over some connections."""
    script.write_text(SCRIPT.format(image=image))
    url = f"http://127.0.0.1:{port}/v1/detect"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    assert found, done.stdout + done.stderr
    requests, duration, p50, p99, refused, failed = map(int, found.groups())
    return Load(connections, requests, duration / 1e6, p50 / 1e3, p99 / 1e3, refused, failed)


if __name__ == "__main__":
    sys.exit(main())
