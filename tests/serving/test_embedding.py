"""Where the application runs: without the extra, in a larger one, with recurrent networks."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import pytest
import torch

from darknet_py import cli
from darknet_py.detector import Detector
from darknet_py.errors import DataError
from darknet_py.exporters.exporter import export
from darknet_py.serving import detection
from tests.helpers import served_digits
from tests.helpers.random_networks import network
from tests.helpers.served_digits import expected, png

pytest.importorskip("starlette", reason="serving needs Starlette: pip install 'darknet-torch[serve]'")
pytest.importorskip("httpx2", reason="Starlette's test client needs httpx2")


def test_without_the_extra_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "darknet_py.serving.app", raising=False)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert cli.main(["serve", "digits"]) == 1
    message = "darknet-py: serving needs Starlette: pip install 'darknet-torch[serve]'\n"
    assert capsys.readouterr().err == message


def test_the_application_is_mounted_in_a_larger_one() -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    from darknet_py.serving import create_app

    app = create_app(served_digits.detector())
    client = TestClient(Starlette(routes=[Mount("/digits", app)]))
    assert client.post("/digits/v1/detect", content=png()).json() == expected(png())
    metrics = app.state.service.metrics.to_text().decode()
    assert 'darknet_requests_total{code="200",path="/v1/detect"} 1.0' in metrics
    app.state.service.close()


def test_a_recurrent_network_sees_each_image_as_the_first_of_a_sequence() -> None:
    from darknet_py.serving import create_app

    head = "[conv]\nfilters=7\nactivation=linear\n[yolo]\nclasses=2\nnum=1\nanchors=20,20\n"
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[crnn]\noutput=4\nhidden=4\npad=1\nactivation=leaky\n"
    detector = Detector(network(text + head), threshold=0.05)
    images = [served_digits.png(number) for number in range(3)]
    inputs = [detection.prepare(detection.DetectionRequest(image, detector)) for image in images]
    results = detection.detect(inputs)
    for image, result in zip(images, results, strict=True):
        detector.reset()
        assert result.to_dict() == detector(image).to_dict()
    assert len(results[0])
    with pytest.raises(DataError, match="source: expected a network without recurrent layers"):
        create_app(detector, source="clip.mp4")


@pytest.mark.parametrize("heads", ["raw", "nms"])
def test_an_exported_file_serves_requests_of_different_options(heads: Any, tmp_path: pathlib.Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="pip install 'darknet-torch[export]'")
    export(served_digits.detector().network, tmp_path / "digits.onnx", heads=heads)
    detector = Detector(tmp_path / "digits.onnx")
    options: tuple[dict[str, Any], ...] = ({}, {"threshold": 0.9}, {"classes": ["five"]}, {})
    detectors = [detector.with_options(**each) for each in options[:3]]
    order = [detectors[0], detectors[1], detectors[2], detectors[0]]
    requests = [detection.DetectionRequest(png(number), each) for number, each in enumerate(order)]
    results = detection.detect([detection.prepare(request) for request in requests])
    for number, (result, each) in enumerate(zip(results, options, strict=True)):
        assert len(result) == len(expected(png(number), **each)["boxes"])
        alone = order[number](png(number))
        torch.testing.assert_close(result.boxes.data, alone.boxes.data, rtol=1e-4, atol=1e-3)
