from __future__ import annotations

import math
import pathlib

import pytest
import torch

from darknet_py import TrainOptions, cfg
from darknet_py.distributed import ProcessGroup
from darknet_py.errors import DarknetError
from darknet_py.network import Network
from darknet_py.training import resume
from darknet_py.training.loader import Batch
from darknet_py.training.loss_scale import GradScaler, all_finite
from darknet_py.training.nan_check import NaNCheck
from darknet_py.training.trainer import Trainer
from tests.helpers import random_networks, synthetic_data, training_runs


def test_the_dynamic_loss_scale_halves_on_overflow_and_grows_again() -> None:
    scale = GradScaler(1.0, half=True)
    first = scale.factor
    assert scale.unscale_([torch.full((3,), first)], True)
    gradient = torch.full((3,), 8 * first)
    assert scale.unscale_([gradient], True)
    assert torch.equal(gradient, torch.full((3,), 8.0))
    overflow = [torch.ones(2), torch.tensor([1.0, math.inf])]
    assert not scale.unscale_(overflow, bool(all_finite(overflow)))
    assert scale.factor == first / 2
    for _ in range(500):
        assert scale.unscale_([torch.ones(1)], bool(all_finite([torch.ones(1)])))
    assert scale.factor == first


def test_the_loss_scale_of_the_cfg_is_constant() -> None:
    scale = GradScaler(128.0, half=True)
    assert scale.unscale_([torch.tensor([math.inf])], False)
    assert scale.factor == 128
    assert GradScaler(128.0, half=False).factor == 1


def test_nan_stops_training(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=60, norm=0)
    values = {"learning_rate": "1e9", "burn_in": "0", "momentum": "0"}
    with pytest.raises(DarknetError) as caught:
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "out", values=values)
    text = str(caught.value)
    assert "[convolutional]" in text
    assert "is NaN or Inf" in text
    assert "lower learning_rate (now 1e+09)" in text
    assert not (tmp_path / "out" / "tiny_final.weights").exists()


def test_the_image_that_brings_nan_is_named(tmp_path: pathlib.Path) -> None:
    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=60, norm=0))
    trainer = Trainer(network)
    trainer.nan_check = nan_check = NaNCheck(network, ProcessGroup())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    good, bad = torch.rand(2, 2, 3, 64, 64)
    bad[1, 0, 5, 5] = math.nan
    targets = [torch.tensor([[0.5, 0.5, 0.2, 0.2, 0.0]])] * 2
    images: list[list[tuple[str, ...]]] = [[("a.png",), ("b.png",)], [("c.png",), ("d.png",)]]
    nan_check.batch = Batch(7, (64, 64), [(good, targets), (bad, targets)], images)
    nan_check.last_saved = "x.state.pt has iteration 5"
    message = r"iteration 8: .*first appears in the output of the data loader; images: d\.png\. .*has iteration 5"
    with pytest.raises(DarknetError, match=message):
        trainer.step(nan_check.batch.pairs)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_first_layer_with_an_inf_output_is_named(tmp_path: pathlib.Path) -> None:
    """Layer 1 overflows where its input is positive: for the second image alone."""
    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=60, norm=0))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("layers.0.", "layers.1.")):
                parameter.fill_({"layers.0.weights": 1.0, "layers.1.weights": 1e38}.get(name, 0.0))
    trainer = Trainer(network)
    trainer.nan_check = nan_check = NaNCheck(network, ProcessGroup())
    targets = [torch.tensor([[0.5, 0.5, 0.2, 0.2, 0.0]])] * 2
    x = torch.stack((torch.zeros(3, 64, 64), torch.ones(3, 64, 64)))
    nan_check.batch = Batch(0, (64, 64), [(x, targets)], [[("a.png",), ("b.png",)]])
    with pytest.raises(DarknetError, match=r"output of layer 1 \[convolutional\]; images: b\.png\. "):
        trainer.step(nan_check.batch.pairs)


def test_weights_with_inf_are_not_saved(tmp_path: pathlib.Path) -> None:
    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=60))
    nan_check = NaNCheck(network, ProcessGroup())
    nan_check.check_weights()
    with torch.no_grad():
        network.get_parameter("layers.2.weights")[3, 1, 0, 0] = math.inf
    with pytest.raises(DarknetError, match=r"layer 2 \[convolutional\] weights is NaN or Inf"):
        nan_check.check_weights()


CLASSIFIER = (
    "[net]\nwidth=8\nheight=8\nchannels=3\nbatch=4\nlearning_rate=0.1\nmomentum=0.9\ndecay=0.01\n{}\n"
    "[convolutional]\nfilters=5\nsize=3\npad=1\nactivation=leaky\n[avgpool]\n[softmax]\n"
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_try_fix_nan_takes_gradients_of_nan_and_inf_for_0(value: float) -> None:
    """``fix_nan_and_inf``: what is neither a number nor finite does not move its weight; all others learn."""
    after = {}
    for keys in ("", "try_fix_nan=1"):
        network = Network(cfg.loads(CLASSIFIER.format(keys))).initialise()
        weights = dict(network[0].stored())["weights"]
        with torch.no_grad():
            weights.copy_(torch.linspace(-1, 1, weights.numel()).view_as(weights))

        def spoil(gradient: torch.Tensor) -> torch.Tensor:
            gradient = gradient.clone()
            gradient[2, 1] = value
            return gradient

        weights.register_hook(spoil)
        before = weights.detach().clone()
        Trainer(network).step([random_networks.classifier_batch()])
        after[keys] = weights.detach().clone()
    assert not after[""][2, 1].isfinite().all()
    torch.testing.assert_close(after["try_fix_nan=1"][2, 1], before[2, 1] * (1 - 0.1 * 0.01))
    after[""][2, 1] = after["try_fix_nan=1"][2, 1]
    assert torch.equal(after[""], after["try_fix_nan=1"])


@pytest.mark.parametrize(("keys", "factor"), [("loss_scale=64", 64.0), ("", 1024.0)])
def test_loss_scale_multiplies_gradients_until_the_update(keys: str, factor: float) -> None:
    """float16 alone; without a ``loss_scale`` it begins with 1024."""
    seen, after = {}, {}
    for amp in (torch.float16, None):
        torch.manual_seed(0)
        network = Network(cfg.loads(CLASSIFIER.format(keys))).initialise()
        weights = dict(network[0].stored())["weights"]
        weights.register_hook(lambda gradient, amp=amp: seen.update({amp: gradient.clone()}))
        Trainer(network, options=TrainOptions(amp=amp)).step([random_networks.classifier_batch()])
        after[amp] = weights.detach().clone()
    torch.testing.assert_close(seen[torch.float16], factor * seen[None], atol=0.02 * factor, rtol=0.02)
    assert float(seen[torch.float16].norm() / seen[None].norm()) == pytest.approx(factor, rel=0.01)
    torch.testing.assert_close(after[torch.float16], after[None], atol=1e-3, rtol=1e-3)
