"""What an exported ONNX file says of itself: inputs, outputs, metadata. The weights are not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._typing import StrPath


@dataclass(frozen=True)
class OnnxDescription:
    """The interface of an ONNX file that this package has exported.

    Attributes:
        inputs: Lengths of the dimensions of each input by name; None: dynamic.
        outputs: Likewise of each output.
        metadata: What ``metadata.describe`` says.
    """

    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: Mapping[str, tuple[int | None, ...]]
    metadata: Mapping[str, str]

    @property
    def classes(self) -> int:
        """Number of classes of a detector; 0: the network has no detection head."""
        options = json.loads(self.metadata["head_options"])
        return int(options[-1]["classes"]) if options else 0

    @property
    def labels(self) -> list[str]:
        """Class names; of a detector without names, the numbers of the classes."""
        names = json.loads(self.metadata["names"])
        return list(map(str, names or range(self.classes)))


def describe_onnx(path: StrPath) -> OnnxDescription:
    """Read the description of an ONNX file that ``export`` has written."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return OnnxDescription(
        {value.name: _lengths(value) for value in model.graph.input},
        {value.name: _lengths(value) for value in model.graph.output},
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _lengths(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
