"""Quantise OpenVINO files by NNCF: FakeQuantize on the inputs and weights of convolutions."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DarknetError
from ..exporters.quiet import quiet_converters
from ..runtimes.openvino_models import RT_INFO, get_core, import_openvino, import_without_telemetry
from .convolutions import layer_of
from .quantizer import Quantizer

_CONVOLUTIONS = ("Convolution", "GroupConvolution")


class OpenVINOQuantizer(Quantizer):
    """An OpenVINO file, quantised by NNCF, which also corrects the biases.

    Args:
        path: The float file.
        inputs: Images, float32 [1, channels, height, width] in 0..1.
        weight_bits: 7 or 8.

    Raises:
        DarknetError: nncf is not installed.
    """

    rounds_outputs = False

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
        inner = self._set_layers(numbers, sources)
        constants = {names[operator] for operator in operators if operator.get_type_name() in ("Constant", "Result")}
        self._convolutions = tuple(numbers)
        self._outer = [name for name in names.values() if name not in inner and name not in constants]

    def quantise(self, in_float: Collection[int]) -> Any:
        """Return the quantised model, see ``Quantizer``."""
        nncf = self._nncf
        quantised = self._names_without(in_float)
        left_out = {*self._outer, *(name for name in self._convolutions if name not in quantised)}
        model = get_core().read_model(self._path)
        fix = nncf.OverflowFix.ENABLE if self._weight_bits == 7 else nncf.OverflowFix.DISABLE
        with quiet_converters(), _quiet_nncf(nncf.nncf_logger):
            return nncf.quantize(
                model,
                nncf.Dataset(list(self._inputs)),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(self._inputs),
                ignored_scope=nncf.IgnoredScope(names=sorted(left_out), validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
            )

    def save(self, model: Any, path: pathlib.Path, entries: Mapping[str, str]) -> None:
        """Write a quantised model, see ``Quantizer``."""
        for key, value in entries.items():
            model.set_rt_info(value, [RT_INFO, key])
        for file in (path, path.with_suffix(".bin")):  # a model that was read from it keeps it mapped into memory
            file.unlink(missing_ok=True)
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
