"""``export_int8``: write a file of eight-bit integers, and keep the layers in float that lose too much."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .._typing import StrPath
from ..data.class_names import ClassNames
from ..data.dataset import Dataset
from ..errors import DarknetError
from ..exporters import metadata
from ..exporters.exporter import export
from ..exporters.onnx.model import OPSET
from ..files import check_outputs, replace, temporary_folder
from ..inference.exported_model import ExportedModel
from ..inference.timing import time_interleaved
from ..network import Network, unwrap
from ..postprocess import Heads
from ..processor import describe_vnni, has_vnni, is_x86
from .agreement import compare_models
from .data import CalibrationData, load_calibration_data
from .onnx_int8 import OnnxQuantizer, require_opset
from .openvino_int8 import OpenVINOQuantizer, import_nncf
from .quantizer import Quantizer
from .result import Int8Result, format_scores
from .search import Scores, fewest_layers, largest_drop
from .sensitivity import layer_sqnr

_COMPARED = 16  # images whose boxes are compared
_RANKED = 4  # images on which layers are ranked
_LEAST_AGREEMENT = 0.5  # of a file without labels to measure its scores
_SUFFIXES = (".onnx", ".xml")


def export_int8(
    network: nn.Module,
    path: StrPath,
    data: Dataset | StrPath,
    *,
    heads: Heads | str = Heads.RAW,
    opset: int = OPSET,
    letterbox: bool | None = None,
    names: ClassNames = None,
    calibration_images: int = 64,
    subset: str = "valid",
    seed: int = 0,
    protocol: str = "darknet",
    map_classes: str = "",
    max_drop: float = 0.5,
    weight_bits: int | None = None,
    repeats: int = 10,
    progress: bool = True,
    on_step: Callable[[str], object] = lambda _: None,
    **options: Any,
) -> Int8Result:
    """Export a network to ONNX or OpenVINO with convolutions in int8, calibrated on images of a data set.

    A float file is exported first, and verified as ``export`` does. A seeded sample of the images gives the ranges of
    the feature maps. The last convolutions, which no other reads, stay in float. With labels, mAP of both files is
    computed in the file's runtime (top-1 for classifiers): where int8 loses more than ``max_drop`` points, the layers
    whose rounding changes the network's outputs most (``sensitivity``) are kept in float, as few as are found to be
    enough. Without labels there is no mAP: the file is refused if less than half of the boxes are found again.

    Args:
        network: The network, see ``network.unwrap``; it is not changed.
        path: The file to write: .onnx or .xml. It is written completely or not at all.
        data: A data set, or what ``load_dataset`` reads; for a classifier a .data file with ``valid`` and ``labels``.
        heads: What the file returns: ``raw`` or ``boxes``.
        opset: ONNX opset, 13 or later.
        letterbox: Whether images are letterboxed, for the calibration and in the metadata; None: as the cfg says.
        names: Class names for the metadata, as for ``export``.
        calibration_images: Images to calibrate with.
        subset: The part of ``data`` to use, for calibration and for mAP.
        seed: Seed of the sample.
        protocol: How mAP is computed, see ``evaluate``.
        map_classes: The network's classes of the data set's, see ``evaluate``.
        max_drop: Points of mAP (hundredths) that may be lost.
        weight_bits: Bits of the weights, 7 or 8; None: 7 on x86 processors without VNNI, whose sums of products of
            eight bits saturate, else 8.
        repeats: Runs of which the median time is taken.
        progress: Show progress bars on stderr if that is a terminal.
        on_step: Called with a line of text about each step.
        **options: Further arguments of ``export``: ``dynamic``, ``threshold``, ``nms``, ``classes``, ``skip_classes``.

    Raises:
        DarknetError: The network has recurrent layers or no convolution to quantise, a package is missing, an option is
            out of range, or too much is lost even so.
    """
    network = unwrap(network)
    target = pathlib.Path(path)
    heads = Heads(heads)
    _check_options(network, target, heads, opset, max_drop, weight_bits)
    if weight_bits is None:
        weight_bits = 7 if is_x86() and not has_vnni() else 8
    loaded = load_calibration_data(
        network,
        data,
        subset=subset,
        protocol=protocol,
        map_classes=map_classes,
        letterbox=letterbox,
        progress=progress,
    )
    suffix = target.suffix.lower()
    outputs = [target] if suffix == ".onnx" else [target, target.with_suffix(".bin")]
    name_file = names if isinstance(names, str | os.PathLike) else None
    check_outputs(outputs, [network.config.path, name_file, *loaded.files])
    inputs = loaded.sample(calibration_images, seed)
    try:
        with temporary_folder(target.parent) as folder:
            (folder / "float").mkdir()
            float_path = folder / "float" / f"network{suffix}"
            on_step("exporting in float")
            export(network, float_path, heads=heads, opset=opset, names=names, letterbox=letterbox, **options)
            on_step(f"calibrating with {len(inputs)} images")
            quantizer = _open_quantizer(float_path, inputs, weight_bits)
            reference = ExportedModel(float_path)
            work = _Quantisation(network, loaded, inputs, weight_bits, quantizer, reference, folder / target.name)
            chosen = work.choose_layers(max_drop, on_step)
            result = work.save(chosen, target, repeats)
            del reference, work, chosen, quantizer
            for file in outputs:
                replace(folder / file.name, file)
    except OSError as error:
        raise DarknetError(f"{target}: {error.strerror or error}") from error
    return result


def _check_options(
    network: Network, target: pathlib.Path, heads: Heads, opset: int, max_drop: float, weight_bits: int | None
) -> None:
    if target.suffix.lower() not in _SUFFIXES:
        raise DarknetError(f"{target}: int8 files are of ONNX or OpenVINO: expected a name that ends in .onnx or .xml")
    if not target.parent.is_dir():
        raise DarknetError(f"{target}: there is no folder {target.parent}")
    if heads is Heads.NMS:
        raise DarknetError(f"{target}: mAP of an int8 file needs all boxes: expected heads=raw or boxes")
    if network.stateful:
        raise DarknetError(f"{target}: networks with recurrent layers are not quantised: expected an export in float")
    if not max_drop >= 0:
        raise DarknetError(f"max_drop: expected 0 or more points, got {max_drop:g}")
    if weight_bits not in (None, 7, 8):
        raise DarknetError(f"weight_bits: expected 7 or 8, got {weight_bits}")
    if target.suffix.lower() == ".onnx":
        require_opset(opset)
        _require_onnxruntime()
    else:
        import_nncf()


def _require_onnxruntime() -> None:
    from ..runtimes.onnxruntime_models import is_onnxruntime_installed

    if not is_onnxruntime_installed():
        raise DarknetError("int8 for ONNX needs the package onnxruntime: pip install 'darknet-torch[export]'")


def _open_quantizer(path: pathlib.Path, inputs: Sequence[Tensor], weight_bits: int) -> Quantizer:
    kind = OnnxQuantizer if path.suffix == ".onnx" else OpenVINOQuantizer
    return kind(path, [x.numpy() for x in inputs], weight_bits)


@dataclass(frozen=True)
class _Trial:
    """A quantised model and its scores.

    Attributes:
        in_float: Numbers of the layers that are kept in float, besides the last ones.
        model: The model in memory.
        scores: Its scores; empty without labels.
    """

    in_float: Sequence[int]
    model: Any
    scores: Scores


@dataclass(frozen=True)
class _Quantisation:
    """What the trials of ``export_int8`` share."""

    network: Network
    data: CalibrationData
    inputs: Sequence[Tensor]
    weight_bits: int
    quantizer: Quantizer
    reference: ExportedModel
    path: pathlib.Path

    def choose_layers(self, max_drop: float, on_step: Callable[[str], object]) -> tuple[Scores, _Trial]:
        """Return the scores in float, and the model with as few layers in float as are enough."""
        if not self.quantizer.layers:
            raise DarknetError(f"{self.network.config.path}: no convolution before another one: nothing to quantise")
        measure = self.data.measure
        if measure is None:
            return {}, _Trial((), self.quantizer.quantise(()), {})
        expected = measure(self.reference)
        on_step(f"float: {format_scores(expected)}")
        best: list[_Trial] = []

        def is_enough(in_float: Sequence[int]) -> bool:
            model = self.quantizer.quantise(in_float)
            self.quantizer.save(model, self.path, {})
            scores = measure(ExportedModel(self.path))
            on_step(
                f"int8 with {len(in_float)} of {len(self.quantizer.layers)} layers in float: {format_scores(scores)}"
            )
            is_good = largest_drop(expected, scores) <= max_drop
            if is_good:
                best[:] = [_Trial(in_float, model, scores)]
            return is_good

        def rank() -> Sequence[int]:
            on_step(f"ranking {len(self.quantizer.layers)} layers")
            sqnr = layer_sqnr(
                self.network,
                self.quantizer.layers,
                self.inputs[:_RANKED],
                weight_bits=self.weight_bits,
                rounds_outputs=self.quantizer.rounds_outputs,
            )
            return sorted(sqnr, key=sqnr.__getitem__)

        kept = fewest_layers(rank, is_enough)
        if kept is None or len(kept) == len(self.quantizer.layers):
            raise DarknetError(
                f"{self.path.name}: loses more than {max_drop:g} points with any layer in int8: expected a larger "
                "max_drop, more calibration images, or an export in float"
            )
        return expected, best[0]

    def save(self, chosen: tuple[Scores, _Trial], target: pathlib.Path, repeats: int) -> Int8Result:
        """Write the file with its metadata, compare and time it."""
        float_scores, trial = chosen
        scores = {"float": dict(float_scores), "int8": dict(trial.scores)} if trial.scores else {}
        in_float = tuple(self._describe(number) for number in sorted({*trial.in_float, *self.quantizer.last}))
        facts = {
            "quantizer": self.quantizer.name,
            "weight_bits": self.weight_bits,
            "data": pathlib.Path(self.data.source).name,
            "images": len(self.inputs),
            "in_float": in_float,
            "protocol": self.data.protocol,
            "scores": scores,
        }
        self.quantizer.save(trial.model, self.path, {metadata.INT8: json.dumps(facts, ensure_ascii=False)})
        model = ExportedModel(self.path)
        agreement = compare_models(self.reference, model, self.inputs[:_COMPARED])
        if not scores and agreement.fraction < _LEAST_AGREEMENT:
            raise DarknetError(
                f"{target}: finds {agreement.found} of {agreement.total} {agreement.kind} of the float file: expected "
                "half of them or more; with labels in the data, the layers that lose them are kept in float"
            )
        times = time_interleaved({"float": self.reference, "int8": model}, self.inputs[0], repeats=repeats)
        return Int8Result(
            path=str(target),
            runtime=model.runtime,
            quantizer=self.quantizer.name,
            processor=describe_vnni(),
            data=self.data.source,
            images=len(self.inputs),
            weight_bits=self.weight_bits,
            layers=len(self.quantizer.layers) - len(trial.in_float),
            in_float=in_float,
            scores=scores,
            agreement=agreement,
            ms={name: statistics.median(values) for name, values in times.items()},
            bytes={"float": _total_bytes(pathlib.Path(self.reference.path)), "int8": _total_bytes(self.path)},
        )

    def _describe(self, number: int) -> str:
        return f"{number} [{self.network.config.sections[1 + number].name}]"


def _total_bytes(path: pathlib.Path) -> int:
    """Size of a model file with the weights beside it."""
    beside = (path, path.with_suffix(".bin"), path.with_name(f"{path.name}.data"))
    return sum(file.stat().st_size for file in beside if file.is_file())
