"""The GAN of examples/gan: its steps against formulas, and a training."""

from __future__ import annotations

import json
import pathlib
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.helpers.example_scripts import load_example

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gan() -> ModuleType:
    """The script as a module."""
    return load_example("gan/train")


def test_the_digits_are_all_of_the_package(gan: ModuleType) -> None:
    images = [gan.load_digits(subset) for subset in ("train", "valid")]
    assert sum(len(x) for x, _ in images) == 1797
    assert images[0][0].shape[1:] == (1, 32, 32)
    assert all(set(digits.tolist()) == set(range(10)) for _, digits in images)
    assert 0 <= float(images[0][0].min()) < float(images[0][0].max()) <= 1


def test_the_step_of_the_discriminator_is_adams_on_v(gan: ModuleType) -> None:
    torch.manual_seed(0)
    made = gan.GAN(torch.rand(200, 1, 32, 32))
    before = [p.detach().clone() for p in made.discriminator.parameters()]
    made.generator.train()
    drawn = made.generate(made.draw_noise(64)).detach()
    real = torch.rand(64, 1, 32, 32)
    scores = [made.discriminator.features(x, [-2])[0].flatten() for x in (real, drawn)]
    v = F.logsigmoid(scores[0]).sum() + F.logsigmoid(-scores[1]).sum()
    gradients = torch.autograd.grad(v, list(made.discriminator.parameters()))
    cost = made.trainer.step([(real, torch.ones(64, 1)), (drawn, torch.zeros(64, 1))])
    assert cost == pytest.approx(-float(v.detach()), rel=1e-5)
    for old, new, gradient in zip(before, made.discriminator.parameters(), gradients, strict=True):
        moved = (new - old)[gradient.abs() > 1e-3]  # Adam's first step is lr in the direction of the gradient
        assert torch.allclose(moved, 0.0005 * gradient[gradient.abs() > 1e-3].sign(), rtol=1e-2)


def test_the_step_of_the_generator_raises_log_d_and_leaves_d(gan: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    made = gan.GAN(torch.rand(200, 1, 32, 32))
    made.step()
    monkeypatch.setattr(made.trainer, "step", lambda pairs: 0.0)
    frozen = [p.detach().clone() for p in made.discriminator.parameters()]
    fooled = [made.step()[1] for _ in range(20)]
    assert fooled[-1] > fooled[0] + 0.01
    for old, new in zip(frozen, made.discriminator.parameters(), strict=True):
        assert torch.equal(old, new)
        assert new.grad is None or not new.grad.any()


def test_judge_counts_what_it_is_sure_of(gan: ModuleType) -> None:
    class Fixed:
        def predict(self, images: torch.Tensor) -> list[torch.Tensor]:
            rows = torch.full((len(images), 10), 0.01)
            rows[0, 3], rows[1, 7] = 0.91, 0.6
            return [rows[:, :, None, None]]

    result = gan.judge(Fixed(), torch.zeros(2, 1, 32, 32))
    assert result["recognised"] == 0.5
    assert result["digits"] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert result["confidence"] == pytest.approx(0.755)


@pytest.mark.slow
def test_it_learns_to_draw_all_digits(gan: ModuleType, tmp_path: pathlib.Path) -> None:
    gan.main(["-o", str(tmp_path)])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["accuracy"] > 0.9
    assert report["drawn"]["recognised"] > 0.5
    assert min(report["drawn"]["digits"]) > 0
    with Image.open(tmp_path / "progress.png") as sheet:
        assert sheet.size == (16 * 36, 7 * 36)
