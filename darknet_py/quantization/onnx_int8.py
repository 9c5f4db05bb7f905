"""Quantise ONNX files by onnxruntime.quantization: QuantizeLinear and DequantizeLinear around convolutions (QDQ)."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import DarknetError
from ..exporters.quiet import quiet_converters
from .convolutions import layer_of
from .quantizer import Quantizer

if TYPE_CHECKING:
    import onnx

# Operators between convolutions that take int8 as it is; without them each would convert to float and back.
_OPERATORS = ("Conv", "MaxPool", "Concat", "Resize", "Split", "LeakyRelu")
_AT_ONCE = 4  # images whose feature maps are in memory together
OLDEST_OPSET = 13  # the first with a scale for each filter


class OnnxQuantizer(Quantizer):
    """An ONNX file, quantised by onnxruntime.

    Activations have eight bits without sign and one scale for each map, weights ``weight_bits`` with sign and a scale
    for each filter.

    Args:
        path: The float file, of opset 13 or later.
        inputs: Images, float32 [1, channels, height, width] in 0..1.
        weight_bits: 7 or 8.
    """

    rounds_outputs = True

    def __init__(self, path: pathlib.Path, inputs: Sequence[npt.NDArray[np.float32]], weight_bits: int) -> None:
        import onnx
        from onnxruntime import quantization

        self.name = f"onnxruntime {metadata.version('onnxruntime')}"
        self._path = path
        self._weight_bits = weight_bits
        graph = onnx.load(path).graph
        convolutions = {node.name: node for node in graph.node if node.op_type == "Conv"}
        producers = {output: node.name for node in graph.node for output in node.output}
        sources = {node.name: [producers[name] for name in node.input if name in producers] for node in graph.node}
        self._sources = sources
        self._convolutions = frozenset(convolutions)
        self._activations = [node.name for node in graph.node if node.op_type == "LeakyRelu"]
        self._set_layers({name: layer_of(node.input[1]) for name, node in convolutions.items()}, sources)
        self._names = tuple(sources)
        reader = _reader_class(quantization.CalibrationDataReader)
        with quiet_converters():
            calibrator = quantization.create_calibrator(
                path,
                _OPERATORS,
                augmented_model_path=str(path.with_name("calibration.onnx")),
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
            for start in range(0, len(inputs), _AT_ONCE):
                calibrator.collect_data(reader(inputs[start : start + _AT_ONCE], graph.input[0].name))
            self._ranges = calibrator.compute_data()

    def quantise(self, in_float: Collection[int]) -> onnx.ModelProto:
        """Return the quantised model, see ``Quantizer``."""
        import onnx
        from onnxruntime import quantization

        convolutions = self._names_without(in_float)
        quantised = convolutions | self._between(convolutions)
        with quiet_converters():
            quantizer = quantization.QDQQuantizer(
                onnx.load(self._path),
                per_channel=True,
                reduce_range=self._weight_bits == 7,
                weight_qType=quantization.QuantType.QInt8,
                activation_qType=quantization.QuantType.QUInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=[name for name in self._names if name not in quantised],
                op_types_to_quantize=list(_OPERATORS),
                extra_options={},
            )
            quantizer.quantize_model()
        model: onnx.ModelProto = quantizer.model.model
        return model

    def _between(self, convolutions: set[str]) -> set[str]:
        """Return the other nodes whose output one of these convolutions reads, without activations of the others."""
        found: set[str] = set()
        waiting = [source for name in convolutions for source in self._sources[name]]
        while waiting:
            name = waiting.pop()
            if name not in found and name not in self._convolutions:
                found.add(name)
                waiting.extend(self._sources[name])
        return found - {name for name in self._activations if not convolutions.issuperset(self._sources[name])}

    def save(self, model: onnx.ModelProto, path: pathlib.Path, entries: Mapping[str, str]) -> None:
        """Write a quantised model, see ``Quantizer``."""
        import onnx

        stored = {entry.key: entry.value for entry in model.metadata_props} | dict(entries)
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, stored)
        path.write_bytes(model.SerializeToString())


def _reader_class(base: Any) -> Any:
    """Return a subclass of ``CalibrationDataReader``, which is imported with onnxruntime only."""

    class Reader(base):  # type: ignore[misc]  # the package has no type annotations
        def __init__(self, inputs: Sequence[npt.NDArray[np.float32]], name: str) -> None:
            self._rest: Iterator[npt.NDArray[np.float32]] = iter(inputs)
            self._name = name

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            image = next(self._rest, None)
            return None if image is None else {self._name: image}

    return Reader


def require_opset(opset: int) -> None:
    """Raise DarknetError for an opset without scales for each filter."""
    if opset < OLDEST_OPSET:
        raise DarknetError(f"opset: int8 files need {OLDEST_OPSET} or later, got {opset}")
