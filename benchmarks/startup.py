#!/usr/bin/env python3
"""Measure start and memory: from a new process to the first boxes, beside ``import torch``.

    python benchmarks/startup.py [CFG [WEIGHTS]] [--image FILE] [--repeats 5] [--threads 1]

Each row is a process of its own. Columns: seconds of processor time, on one thread of an idle machine also those of
a clock; in MB the largest memory of the process, and that at its end (resident set); the least of the repeats. Without
WEIGHTS they are drawn from a seed, which changes neither. "kept" holds the plain weights besides the packed ones, as a
detector of the caller's network does.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
_REPORT = (
    "import atexit, os, sys; atexit.register(lambda: print(int(open('/proc/self/statm').read().split()[1])"
    " * os.sysconf('SC_PAGE_SIZE'), file=sys.stderr)); "
)
_RUN = "import sys; sys.argv[0] = 'darknet-py'; from darknet_py.cli import main; sys.exit(main())"
_LOAD = "import sys, darknet_py as dk; cfg, weights, image = sys.argv[1:]; "
_KEPT = _LOAD + "detector = dk.Detector(dk.load(cfg, weights)); boxes = detector(image)"
_FREED = (
    _LOAD + "from functools import partial; from darknet_py.loading import NetworkLoader; "
    "detector = dk.Detector(NetworkLoader(partial(dk.load, cfg, weights))); boxes = detector(image)"
)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cfg", nargs="?", default=str(CFGS / "yolov4.cfg"), metavar="CFG")
    parser.add_argument("weights", nargs="?", metavar="WEIGHTS")
    parser.add_argument("--image", metavar="FILE", help="(default: a grey one)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [args.cfg, args.weights or draw_weights(args.cfg, folder), args.image or draw_image(folder)]
        rows: dict[str, tuple[str, list[str]]] = {
            "python": ("pass", []),
            "import torch": ("import torch", []),
            "import darknet_py": ("import darknet_py", []),
            "darknet-py --help": (_RUN, ["--help"]),
            "darknet-py info": (_RUN, ["info", args.cfg]),
            "first boxes: Detector, kept": (_KEPT, files),
            "first boxes: Detector, freed": (_FREED, files),
            "first boxes: darknet-py detect": (_RUN, ["detect", *files]),
        }
        print("| | s of CPU time | largest MB | MB at the end |\n|---|---|---|---|")
        for name, (code, arguments) in rows.items():
            measured = [measure(code, arguments, args.threads) for _ in range(args.repeats)]
            seconds, peak, end = (min(column) for column in zip(*measured, strict=True))
            print(f"| {name} | {seconds:.2f} | {peak / 1e6:.0f} | {end / 1e6:.0f} |", flush=True)


def measure(code: str, arguments: list[str], threads: int) -> tuple[float, int, int]:
    """Run code in a new process: seconds of processor time, largest memory and memory at the end, in bytes."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-c", _REPORT + code, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = process.stderr.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("\n".join(lines))
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, int(lines[-1])


def draw_weights(cfg: str, folder: str) -> str:
    """Write weights from a seed that keep activations near 1, in a process of its own."""
    path = os.path.join(folder, "seed.weights")
    code = (
        "import sys, torch, warnings, darknet_py; from darknet_py.inference.benchmark import set_unit_variance; "
        "torch.manual_seed(0); net = darknet_py.load(sys.argv[1]); set_unit_variance(net); "
        "darknet_py.save(net, sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, cfg, path], check=True)
    return path


def draw_image(folder: str) -> str:
    """Write a grey photograph-sized image."""
    from PIL import Image

    path = os.path.join(folder, "grey.png")
    Image.new("RGB", (640, 480), (128, 128, 128)).save(path)
    return path


if __name__ == "__main__":
    main()
