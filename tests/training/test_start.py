"""What ``Trainer.run`` starts from and refuses in Python, as on the command line."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import pytest
import torch

from darknet_py import Trainer, TrainOptions, loading, weights
from darknet_py.errors import ConfigError, WeightsError
from darknet_py.training import resume
from tests.helpers import synthetic_data, training_runs


@pytest.fixture
def cfg(tmp_path: pathlib.Path) -> pathlib.Path:
    return synthetic_data.cfg(tmp_path, max_batches=2)


def run(cfg: pathlib.Path, data: pathlib.Path, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {"verbose": False, "workers": 0, "chart": "", "validate": False}
    trainer = Trainer(resume.build_network(cfg, seed=1), data, TrainOptions(**quiet | options))
    trainer.run()
    return trainer


def test_a_cfg_for_inference_is_refused_by_run_but_not_by_step(
    tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2, batch=1, subdivisions=1)
    with pytest.raises(ConfigError, match="batch=1 is for inference"):
        run(cfg, rectangles / "tiny.data", output=tmp_path)
    trainer = Trainer(resume.build_network(cfg))
    trainer.step([(torch.rand(1, 3, 64, 64), [torch.tensor([[0.5, 0.5, 0.3, 0.3, 1]])])])
    assert trainer.iteration == 1


def test_a_backbone_is_recognised(cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    whole = resume.build_network(cfg, seed=9)
    whole.seen = 8
    weights.save(whole, tmp_path / "tiny.conv.3", upto=3)
    values = {"learning_rate": "0", "policy": "constant"}
    network = resume.build_network(cfg, seed=1, values=values)
    options = TrainOptions(
        weights=tmp_path / "tiny.conv.3", output=tmp_path, verbose=False, workers=0, chart="", validate=False
    )
    assert Trainer(network, rectangles / "tiny.data", options).run().iteration == 2
    for index, is_loaded in ((0, True), (2, True), (3, False)):
        name = f"layers.{index}.weights"
        assert torch.equal(network.get_parameter(name), whole.get_parameter(name)) == is_loaded


def test_the_state_beside_the_weights_is_resumed(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "a")
    longer = cfg.read_text().replace("max_batches=2", "max_batches=3")
    cfg.write_text(longer)
    last = tmp_path / "a" / "tiny_last.weights"
    resumed = run(cfg, rectangles / "tiny.data", weights=last, output=tmp_path / "b")
    whole = training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "c")
    assert resumed.seed == 3  # the run's own, whatever the options say
    for name, tensor in whole.state_dict().items():
        if name.endswith("weights"):
            assert torch.equal(resumed.network.state_dict()[name], tensor), name
    last.with_name("tiny_last.state.pt").unlink()
    warm = run(cfg, rectangles / "tiny.data", weights=last, output=tmp_path / "d")
    assert not torch.equal(warm.network.get_parameter("layers.0.weights"), whole.get_parameter("layers.0.weights"))


def test_resume_without_a_state_starts_a_run(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = run(cfg, rectangles / "tiny.data", resume=True, output=tmp_path / "a", verbose=True)
    assert trainer.iteration == 2
    printed = capsys.readouterr().err
    assert f"no training state in {tmp_path / 'a'} to resume from: starting from initial weights" in printed
    with pytest.raises(WeightsError, match=r"none\.state\.pt: no such training state"):
        run(cfg, rectangles / "tiny.data", resume=tmp_path / "none.state.pt", output=tmp_path / "a")


def test_nothing_is_left_to_train(cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    run(cfg, rectangles / "tiny.data", output=tmp_path)
    final = tmp_path / "tiny_final.weights"
    for options in ({"weights": final}, {"resume": True}):
        with pytest.raises(ConfigError, match=r"iteration 2 of max_batches=2: nothing is left to train"):
            run(cfg, rectangles / "tiny.data", output=tmp_path, **options)
    done = loading.load(cfg, final)
    with pytest.raises(ConfigError, match="nothing is left to train"):
        Trainer(done, rectangles / "tiny.data", TrainOptions(output=tmp_path, verbose=False)).run()


@pytest.mark.parametrize(
    ("amp", "dtype"),
    [("bf16", torch.bfloat16), ("fp16", torch.float16), (torch.bfloat16, torch.bfloat16), (None, None)],
)
def test_names_of_mixed_precision(amp: Any, dtype: torch.dtype | None, cfg: pathlib.Path) -> None:
    trainer = Trainer(resume.build_network(cfg), options=TrainOptions(amp=amp))
    assert trainer.engine.amp == dtype
    assert trainer.engine.scaler.factor == (1024 if dtype is torch.float16 else 1)


@pytest.mark.parametrize("amp", ["float16", "half", torch.float64])
def test_other_names_of_mixed_precision_are_refused(amp: Any, cfg: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="amp: expected bf16, fp16, got"):
        Trainer(resume.build_network(cfg), options=TrainOptions(amp=amp))


@pytest.mark.parametrize("deterministic", [True, False])
def test_deterministic_algorithms_are_on_during_a_run_only(
    deterministic: bool,
    cfg: pathlib.Path,
    tmp_path: pathlib.Path,
    rectangles: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled: list[bool] = []
    step = Trainer.step

    def record(trainer: Trainer, pairs: Any) -> float:
        enabled.append(torch.are_deterministic_algorithms_enabled())
        return step(trainer, pairs)

    monkeypatch.setattr(Trainer, "step", record)
    trainer = Trainer(resume.build_network(cfg), options=TrainOptions(deterministic=True))
    assert not torch.are_deterministic_algorithms_enabled()
    assert trainer.iteration == 0
    run(cfg, rectangles / "tiny.data", output=tmp_path, deterministic=deterministic)
    assert enabled == [deterministic] * 2
    assert not torch.are_deterministic_algorithms_enabled()


FIRST_ITERATION = """
import sys, torch
from darknet_py import Trainer, cfg
from darknet_py.network import Network
text = "[net]\\nwidth=4\\nheight=4\\nchannels=3\\nmax_batches=2\\n[conv]\\nfilters=2\\n[avg]\\n[softmax]\\n[cost]\\n"
network = Network(cfg.loads(text)).initialise()
batch = torch.rand(1, 3, 4, 4), torch.rand(1, 2)
Trainer(network).step([batch])
sys.exit("sympy" in sys.modules)
"""


@pytest.mark.slow
def test_the_first_iteration_does_not_import_sympy() -> None:
    """``torch.autograd.backward`` does, which takes half a second, if it is given gradients."""
    done = subprocess.run([sys.executable, "-c", FIRST_ITERATION], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or "sympy was imported"
