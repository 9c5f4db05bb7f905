"""``Int8Result``: what an int8 file is, and a table of what it costs and gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._table import format_table
from .agreement import Agreement
from .search import Scores

_KINDS = ("float", "int8")


@dataclass(frozen=True)
class Int8Result:
    """The file that ``export_int8`` wrote.

    Attributes:
        path: The file.
        runtime: Name of the file's runtime, in which it was measured.
        quantizer: Package that quantised, with its version.
        processor: ``with VNNI``, ``without VNNI`` or ``VNNI unknown``: the processor of the measurement.
        data: The data set.
        images: Images of the calibration.
        weight_bits: Bits of the weights: 8, or 7 for processors without VNNI.
        layers: Number of convolutional layers in int8.
        in_float: The convolutional layers in float: number and section.
        scores: ``float`` and ``int8``: scores 0..1 by name (``mAP@0.50``, ``top-1``); empty for data without labels.
        agreement: How many boxes of the float file the int8 file finds in the first images of the calibration.
        ms: ``float`` and ``int8``: median milliseconds of an image in the runtime.
        bytes: ``float`` and ``int8``: size of the file with its weights.
    """

    path: str
    runtime: str
    quantizer: str
    processor: str
    data: str
    images: int
    weight_bits: int
    layers: int
    in_float: Sequence[str]
    scores: Mapping[str, Scores]
    agreement: Agreement
    ms: Mapping[str, float]
    bytes: Mapping[str, int]

    def __str__(self) -> str:
        names = list(self.scores.get("float", ()))
        rows = [("", *(f"{name}, %" for name in names), "ms", "MB")]
        for kind in _KINDS:
            scores = [f"{100 * self.scores[kind][name]:.2f}" for name in names]
            rows.append((kind, *scores, f"{self.ms[kind]:.1f}", f"{self.bytes[kind] / 1e6:.1f}"))
        found = self.agreement
        lines = [
            f"{self.path}: int8 by {self.quantizer}, calibrated with {self.images} images of {self.data}",
            *format_table(rows, "<>"),
            f"{self.layers} convolutional layers in int8, weights of {self.weight_bits} bits; in float: "
            + (", ".join(self.in_float) or "none"),
            f"{found.found} of {found.total} {found.kind} of the float file are found; "
            f"{self.runtime} on a processor {self.processor}",
        ]
        if not self.scores:
            lines.append(f"{self.data} has no labels: no mAP or accuracy was measured")
        return "\n".join(lines)


def format_scores(scores: Scores) -> str:
    """Return ``mAP@0.50 45.27 %``."""
    return ", ".join(f"{name} {100 * value:.2f} %" for name, value in scores.items())
