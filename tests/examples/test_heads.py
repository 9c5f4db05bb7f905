"""The detectors of YOLOv1 and YOLOv2 in miniature: they train, and find what the tour says they find."""

from __future__ import annotations

import pytest
import torch

from darknet_py.training import resume
from darknet_py.training.options import TrainOptions
from darknet_py.training.trainer import Trainer
from tests.helpers.paths import ROOT

HEADS = ROOT / "examples" / "heads"


@pytest.mark.parametrize("name", ["digits-yolov1", "digits-yolov2"])
def test_the_network_trains(name: str) -> None:
    network = resume.build_network(HEADS / f"{name}.cfg", values={"burn_in": "0", "learning_rate": "0.0003"})
    trainer = Trainer(network, options=TrainOptions())
    generator = torch.Generator().manual_seed(0)
    batch = [(torch.rand(4, 3, 96, 96, generator=generator), [torch.tensor([[0.4, 0.6, 0.2, 0.3, 7.0]])] * 4)]
    costs = [trainer.step(batch) for _ in range(30)]
    assert costs[-1] < 0.6 * costs[0]
