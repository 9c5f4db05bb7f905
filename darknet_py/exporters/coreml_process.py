"""Convert a file of ``torch.export`` to Core ML, and evaluate the result; run by ``coreml_conversion`` in processes.

    python -m darknet_py.exporters.coreml_process convert network.pt2 network.mlpackage description.json
    python -m darknet_py.exporters.coreml_process evaluate network.mlpackage inputs.npz outputs.npz

The description has ``outputs`` (their names), ``fp16`` and ``metadata``.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import numpy as np
import torch

from .mil_evaluation import evaluate

INPUT = "input"


def convert(source: str, target: str, description: str) -> None:
    """Write ``target``, an ML program, for macOS 12, iOS 15 and later."""
    import coremltools
    from coremltools.converters.mil.frontend.torch import ops, torch_op_registry

    def alias(context: Any, node: Any) -> None:  # a slice that takes all; coremltools 9 does not know it
        ops.noop(context, node)

    torch_op_registry.register_torch_op(alias)
    described = json.loads(pathlib.Path(description).read_text(encoding="utf-8"))
    program = torch.export.load(source).run_decompositions({})
    precision = coremltools.precision
    model = coremltools.convert(
        program,
        convert_to="mlprogram",
        compute_precision=precision.FLOAT16 if described["fp16"] else precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS15,
        skip_model_load=True,
    )
    spec = model.get_spec()
    names = [value.name for value in spec.description.input], [value.name for value in spec.description.output]
    for old, new in zip((*names[0], *names[1]), (INPUT, *described["outputs"]), strict=True):
        if old != new:
            coremltools.utils.rename_feature(spec, old, new)
    spec.description.metadata.userDefined.update(described["metadata"])
    coremltools.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True).save(target)


def run_on_arrays(path: str, inputs: str, outputs: str) -> None:
    """Evaluate the ML program of a package on arrays by name, and write its outputs in their order."""
    import coremltools
    from coremltools.converters.mil.frontend.milproto import load as milproto

    model = coremltools.models.MLModel(path, skip_model_load=True)
    spec = model.get_spec()
    program: Any = milproto.load(spec, spec.specificationVersion, model.weights_dir)
    with np.load(inputs) as arrays:
        values = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    results = evaluate(program.functions["main"], values)
    names = [value.name for value in spec.description.output]
    np.savez(outputs, *(results[name].float().numpy() for name in names))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    {"convert": convert, "evaluate": run_on_arrays}[sys.argv[1]](*sys.argv[2:])
