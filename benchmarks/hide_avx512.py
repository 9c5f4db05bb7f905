#!/usr/bin/env python3
"""Copy a virtual environment, and hide AVX-512 from the runtimes in the copy.

    python benchmarks/hide_avx512.py ENVIRONMENT COPY [PACKAGE ...]

For tables of a processor with AVX2, measured on one with AVX-512. torch and OpenVINO have variables for it
(ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2), but ONNX Runtime, ncnn and OpenCV take whatever the operating
system saves at a change of threads, which the instruction XGETBV tells them. In the copy's libraries it is replaced by
two of the same length in all, ``push 7; pop rax``: the states of x87, SSE and AVX. Set the two variables as well: no
library then has AVX-VNNI either. The files are hard links except for those that are changed.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys

PACKAGES = ("torch", "openvino", "onnxruntime", "ncnn", "cv2")
XGETBV = re.compile(rb"\x0f\x01\xd0")
AVX_ONLY = b"\x6a\x07\x58"
# The number of the register, 0 in ECX, is set shortly before; elsewhere the bytes are constants and parts of others.
SETS_ECX = re.compile(rb"\x31\xc9|\x33\xc9|\xb9\x00\x00\x00\x00")
BEFORE = 24  # bytes


def main() -> int:
    """Copy, replace, and print what was replaced in each library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=pathlib.Path)
    parser.add_argument("copy", type=pathlib.Path)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", default=PACKAGES)
    args = parser.parse_args()
    if args.copy.exists():
        parser.error(f"{args.copy} is there already: expected the path of a new folder")
    subprocess.run(["cp", "-al", args.environment, args.copy], check=True)
    for package in args.packages:
        for path in sorted(args.copy.rglob(f"{package}/**/*.so*")):
            content, count = without_avx512(path.read_bytes())
            if count:
                part = path.with_name(f"{path.name}.part")  # the library itself is a link to that of the environment
                part.write_bytes(content)
                part.chmod(path.stat().st_mode)
                os.replace(part, path)
                print(f"{path.relative_to(args.copy)}: {count}")
    return 0


def without_avx512(content: bytes) -> tuple[bytes, int]:
    """Return a library that finds no AVX-512, and the number of instructions that were replaced."""
    changed, count = bytearray(content), 0
    for match in XGETBV.finditer(content):
        start = match.start()
        if SETS_ECX.search(content, max(0, start - BEFORE), start):
            changed[start : start + len(AVX_ONLY)] = AVX_ONLY
            count += 1
    return bytes(changed), count


if __name__ == "__main__":
    sys.exit(main())
