"""Run an ncnn file once on zeros; run by ``ncnn_conversion`` in a process of its own.

    python -m darknet_py.exporters.ncnn_process network.ncnn.param

ncnn ends the process where a layer gets an input of a shape that it does not expect.
"""

from __future__ import annotations

import sys

import numpy as np

from ..runtimes.ncnn_models import NcnnModel


def run_once(path: str) -> None:
    """Compute the outputs. Raises DarknetError."""
    model = NcnnModel(path)
    model.run([np.zeros([int(length) for length in spec.shape], np.float32) for spec in model.inputs])


if __name__ == "__main__":
    run_once(sys.argv[1])
