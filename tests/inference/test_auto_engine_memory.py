"""Engine auto frees the plain weights as torch does, and loads them again before it tries other engines."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import pytest
import torch

import darknet_py
from darknet_py.detector import Detector
from darknet_py.inference import auto_engine, engines
from darknet_py.loading import NetworkLoader, load
from darknet_py.network import Network
from tests.helpers.network_states import DETECTOR, boxes, image, network


def freed(net: Network) -> bool:
    return bool(net[0].get_parameter("weights").isnan().all())


@pytest.mark.parametrize("gone", [False, True])
def test_auto_loads_the_weights_for_a_trial(
    gone: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(auto_engine.VARIABLE, raising=False)
    monkeypatch.setattr(auto_engine, "IMAGES", 2)
    (tmp_path / "a.cfg").write_text(DETECTOR)
    darknet_py.save(network(), tmp_path / "a.weights")
    loader = NetworkLoader(functools.partial(load, tmp_path / "a.cfg", tmp_path / "a.weights"))
    kept: list[bool] = []

    def candidates(net: Network, dtype: str) -> dict[str, Any]:
        def other() -> Any:
            kept.append(not freed(net))
            return net.predict

        return {"torch": functools.partial(engines.create_engine, net, "torch", dtype=dtype), "other": other}

    monkeypatch.setattr(engines, "_candidates", candidates)
    detector = Detector(loader, threshold=0.1, engine="auto")
    expected = boxes(detector(image()))
    assert freed(detector.architecture)
    if gone:
        (tmp_path / "a.weights").unlink()
    for _ in range(3):
        torch.testing.assert_close(boxes(detector(image())), expected)
    assert all(kept)
    assert bool(kept) != gone
    assert freed(detector.architecture) == gone
