"""Every engine finds C's boxes with networks that other people trained; they are in ../shared."""

from __future__ import annotations

import pytest

from darknet_py.inference import engines
from tests.helpers import reference_boxes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["torch", "graph", "openvino", "onnxruntime", "ncnn"])
@pytest.mark.usefixtures("shared")
def test_the_boxes_are_those_of_c(engine: str) -> None:
    if not engines.is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    count = 0
    with reference_boxes.temporary_cache():
        for name, entry in reference_boxes.trained_networks().items():
            compared = reference_boxes.compare_trained(name, entry, engine)
            assert compared.wrong == [], name
            count += compared.boxes
    assert count > 100
