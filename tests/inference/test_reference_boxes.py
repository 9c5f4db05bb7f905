"""Every converting engine finds C's boxes in all detectors of ../shared/conformance/alexeyab, or refuses the network.

``tests/test_conformance.py`` does the same for the plain and the fused network.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_py.errors import DarknetError
from darknet_py.inference import engines
from darknet_py.network import Network
from tests.helpers import paths, reference_boxes
from tests.helpers.reference_values import Reference

# A conversion may read the cfg again, which warns of what it has in excess.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::darknet_py.errors.UnusedOptionWarning")]
ENGINES = ("graph", "openvino", "onnxruntime", "ncnn")
_NO_BINARY = {"ncnn": "ncnn has no layer for Tensor.to, torch.gt of this network"}
_NO_LOCAL = {"ncnn": "ncnn cannot run the network: ncnn cannot load it"}
# What is refused, by network and engine, and a part of the reason.
REFUSED = {
    "yolov3-tiny_occlusion_track": dict.fromkeys(ENGINES, "does not keep the state of recurrent layers"),
    "yolov3-tiny_xnor": _NO_BINARY,
    "tiny-yolo_xnor": _NO_BINARY,
    "yolov1__xyolo.test": _NO_BINARY,
    "yolo9000": {"ncnn": "operator ScatterElements has no attribute reduction"},
    "Gaussian_yolov3_BDD": {"ncnn": "no slices with steps of"},
    "resnet152_trident": {"graph": "outputs differ from the network's"},
    **dict.fromkeys(("yolov1__yolo", "yolov1__yolo-coco", "yolov1__yolo.train", "yolov1__yolo2"), _NO_LOCAL),
}


@pytest.fixture(scope="module", params=reference_boxes.detectors(), ids=lambda cfg: cfg.stem)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Network, Reference]:
    """Name, network with the reference's weights, and reference, of each detector in turn."""
    paths.require_shared()
    cfg: Path = request.param
    paths.require_files_of(cfg)
    expected = reference_boxes.load_reference(cfg)
    weights = tmp_path_factory.mktemp("weights") / "a.weights"
    net = reference_boxes.load_network(cfg, expected, weights)
    weights.unlink()
    return cfg.stem, net, expected


@pytest.mark.parametrize("engine", ENGINES)
def test_the_boxes_are_those_of_c(engine: str, case: tuple[str, Network, Reference]) -> None:
    if not engines.is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    name, net, expected = case
    reason = REFUSED.get(name, {}).get(engine)
    with reference_boxes.temporary_cache():
        if reason is None:
            try:
                comparison = reference_boxes.compare(net, expected, engine)
            except DarknetError as error:
                if "too little memory" in str(error):
                    pytest.skip(str(error))
                raise
            assert comparison.wrong == []
            return
        with pytest.raises(DarknetError, match=reason) as refusal:
            reference_boxes.compare(net, expected, engine)
        assert "\n" not in str(refusal.value)
