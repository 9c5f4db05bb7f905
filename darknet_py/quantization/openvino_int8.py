"""Quantise OpenVINO files by NNCF: FakeQuantize on the inputs and weights of convolutions."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import DarknetError
from ..exporters.quiet import quiet_converters
from ..runtimes.openvino_models import RT_INFO, get_core, import_openvino, import_without_telemetry
from .convolutions import before, layer_of

_CONVOLUTIONS = ("Convolution", "GroupConvolution")


class OpenVINOQuantizer:
    """An OpenVINO file of ``export``, quantised with any of its layers in float; as ``OnnxQuantizer``.

    NNCF corrects the biases, and rounds the inputs of convolutions but not their outputs.

    Args:
        path: The float file.
        inputs: Images, float32 [1, channels, height, width] in 0..1.
        weight_bits: 7 or 8.

    Attributes:
        rounds_outputs: Whether a layer's output is rounded to int8, and not only its input.
        name: Package that quantises, with its version.
        layers: Numbers of the layers that can be quantised.
        last: Numbers of the layers that are kept in float because no other convolution reads their output.

    Raises:
        DarknetError: nncf is not installed.
    """

    rounds_outputs: ClassVar = False

    def __init__(self, path: pathlib.Path, inputs: Sequence[npt.NDArray[np.float32]], weight_bits: int) -> None:
        self._openvino = import_openvino()
        self._nncf = import_nncf()
        self.name = f"nncf {self._nncf.__version__}"
        self._path = path
        self._inputs = inputs
        self._weight_bits = weight_bits
        operators = get_core().read_model(path).get_ordered_ops()
        names = {operator: operator.get_friendly_name() for operator in operators}
        sources = {
            names[operator]: [value.get_node().get_friendly_name() for value in operator.input_values()]
            for operator in operators
        }
        numbers = {
            names[operator]: layer_of(operator.input_value(1).get_node().get_friendly_name())
            for operator in operators
            if operator.get_type_name() in _CONVOLUTIONS
        }
        inner = before(numbers, sources)
        self._nodes: dict[int, list[str]] = {}
        for name, number in numbers.items():
            if number is not None and name in inner:
                self._nodes.setdefault(number, []).append(name)
        self.layers = tuple(sorted(self._nodes))
        self.last = tuple(
            sorted({n for name, n in numbers.items() if n is not None and name not in inner} - {*self.layers})
        )
        constants = {names[operator] for operator in operators if operator.get_type_name() in ("Constant", "Result")}
        self._left_out = [
            name
            for name in names.values()
            if name not in constants and (name not in inner or (name in numbers and numbers[name] not in self._nodes))
        ]

    def quantise(self, in_float: Collection[int]) -> Any:
        """Return the quantised model, see ``OnnxQuantizer.quantise``."""
        nncf = self._nncf
        kept = [name for number in in_float for name in self._nodes.get(number, ())]
        model = get_core().read_model(self._path)
        fix = nncf.OverflowFix.ENABLE if self._weight_bits == 7 else nncf.OverflowFix.DISABLE
        with quiet_converters(), _quiet_nncf(nncf.nncf_logger):
            return nncf.quantize(
                model,
                nncf.Dataset(list(self._inputs)),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(self._inputs),
                ignored_scope=nncf.IgnoredScope(names=[*self._left_out, *kept], validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
            )

    def save(self, model: Any, path: pathlib.Path, entries: Mapping[str, str]) -> None:
        """Write a quantised model, with ``entries`` added to the metadata of the float file."""
        for key, value in entries.items():
            model.set_rt_info(value, [RT_INFO, key])
        try:
            self._openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            raise DarknetError(f"{path.name}: OpenVINO cannot write it, is the disk full? {error}") from error


def import_nncf() -> Any:
    """Import NNCF, without its telemetry, and return the package. Raises DarknetError if it is not installed."""
    try:
        return import_without_telemetry("nncf")
    except ImportError as error:
        raise DarknetError("int8 for OpenVINO needs the package nncf: pip install 'darknet-torch[int8]'") from error


@contextmanager
def _quiet_nncf(logger: logging.Logger) -> Iterator[None]:
    """Silence NNCF's logger below ERROR, and the progress bars that it prints to stdout, inside the block."""
    import rich

    console, level = rich.get_console(), logger.level
    was_quiet = console.quiet
    logger.setLevel(logging.ERROR)
    console.quiet = True
    try:
        yield
    finally:
        logger.setLevel(level)
        console.quiet = was_quiet
