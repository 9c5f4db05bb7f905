"""Networks as models of OpenVINO."""

from __future__ import annotations

import pathlib
from typing import Any

import torch

from ..network import Network, evaluating
from ..runtimes.openvino_models import get_core, import_openvino
from .onnx.model import to_onnx, write_onnx
from .quiet import quiet_converters


def convert_network(network: Network, folder: pathlib.Path) -> Any:
    """Return the network as an ``openvino.Model`` with a dynamic batch size.

    Args:
        network: A stateless network.
        folder: For temporary files.

    Raises:
        DarknetError: The network cannot be converted.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # A batch of two: tracing treats lengths of 1 as constants.
    example = torch.rand(2, *network.shape, device=next(network.parameters()).device)
    try:
        with torch.no_grad(), quiet_converters(), evaluating(network):
            decoder = TorchScriptPythonDecoder(network, example_input=example)  # the frontend does not keep it alive
            frontend = FrontEndManager().load_by_framework("pytorch")
            model = frontend.convert(frontend.load(decoder))
            model.reshape([-1, *network.shape])
    except Exception:  # OpenVINO supports fewer operators of traced modules than of ONNX
        onnx_path = folder / "openvino.onnx"
        write_onnx(to_onnx(network, dynamic="batch"), onnx_path)
        model = get_core().read_model(onnx_path)
        onnx_path.unlink()
    return model
