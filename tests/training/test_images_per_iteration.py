"""Images of an iteration: batch // subdivisions * time_steps in each of ``subdivisions`` mini-batches, everywhere."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from darknet_py import Trainer, TrainOptions, cfg, loading, schedule
from darknet_py.cfg.net_section import Net
from darknet_py.errors import ConfigError, UnusedOptionWarning
from darknet_py.network import Network
from darknet_py.training import checkpoints, resume
from darknet_py.training.loader import Batch
from darknet_py.training.text_batches import TextBatches, TextFile

LAYERS = "[rnn]\nhidden=4\noutput=5\n[connected]\noutput=128\n[softmax]\n"
RECURRENT = "[net]\ninputs=128\nbatch=6\nsubdivisions=2\ntime_steps=4\nmax_batches={}\nlearning_rate=0.1\n" + LAYERS
IMAGES = 6 // 2 * 4 * 2

# batch, subdivisions, time_steps, then images in a mini-batch and in an iteration
CASES = [
    (64, 16, 1, 4, 64),
    (6, 2, 4, 12, 24),
    (10, 4, 1, 2, 8),
    (10, 4, 3, 6, 24),
    (1, 4, 1, 1, 4),
    (1, 1, 1, 1, 1),
    (1, 1, 16, 16, 16),
]


@pytest.mark.parametrize(("batch", "subdivisions", "time_steps", "per_forward", "per_iteration"), CASES)
def test_batch_arithmetic_is_darknets(
    batch: int, subdivisions: int, time_steps: int, per_forward: int, per_iteration: int
) -> None:
    """``parse_net_options``: net.batch /= subdivisions; net.batch *= time_steps; both at least 1."""
    net = Net(batch=batch, subdivisions=subdivisions, time_steps=time_steps)
    assert schedule.images_per_forward(net) == per_forward
    assert schedule.images_per_iteration(net) == per_iteration


@pytest.fixture
def text(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "text.txt"
    path.write_text("abcd efgh. " * 9)
    return path


def run(folder: pathlib.Path, text: pathlib.Path, max_batches: int, *, clear: bool = False, **options: Any) -> Network:
    path = folder / "r.cfg"
    path.write_text(RECURRENT.format(max_batches))
    network = resume.build_network(path, seed=1)
    quiet: dict[str, Any] = {"output": folder, "verbose": False, "chart": ""}
    Trainer(network, TextFile(text), TrainOptions(**quiet | options), clear=clear).run()
    return network


def test_a_recurrent_network_is_resumed_and_fine_tuned_from_its_own_weights(
    tmp_path: pathlib.Path, text: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """time_steps=4: 24 sequence elements in each iteration, though batch is 6."""
    network = run(tmp_path, text, 3)
    third = shutil.copy(tmp_path / "r_final.weights", tmp_path / "third.weights")
    assert network.seen == loading.load(tmp_path / "r.cfg", third).seen == 3 * IMAGES
    assert checkpoints.read_state(tmp_path / "r_last.state.pt").iteration == 3
    resumed = run(tmp_path, text, 5, resume=True)
    assert resumed.seen == 5 * IMAGES
    fine_tuned = run(tmp_path, text, 5, weights=third, verbose=True)
    assert "72 images seen; warm start at iteration 3, momentum starts at 0" in capsys.readouterr().err
    assert fine_tuned.seen == 5 * IMAGES
    uninterrupted = run(tmp_path, text, 5)
    for name, tensor in uninterrupted.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    with pytest.raises(ConfigError, match="iteration 3 of max_batches=3: nothing is left to train"):
        run(tmp_path, text, 3, weights=third)
    assert run(tmp_path, text, 3, weights=third, clear=True).seen == 3 * IMAGES


def test_the_log_counts_what_an_iteration_trains_on(tmp_path: pathlib.Path, text: pathlib.Path) -> None:
    run(tmp_path, text, 2)
    rows = (tmp_path / "r_log.csv").read_text().splitlines()
    column = rows[0].split(",").index("images")
    assert [row.split(",")[column] for row in rows[1:]] == [str(IMAGES), str(2 * IMAGES)]
    network = resume.build_network(tmp_path / "r.cfg")
    (x, _), *_ = next(iter(TextBatches(network, text))).pairs
    assert len(x) == IMAGES // 2


IMAGE_NET = "[net]\nwidth=8\nheight=8\nchannels=3\nbatch=10\nsubdivisions=4\nmax_batches=9\nlearning_rate=0.1\n"
CLASSIFIER = IMAGE_NET + "[conv]\nfilters=5\nsize=3\n[avgpool]\n[softmax]\n"


def test_a_batch_that_is_no_multiple_of_subdivisions_is_rounded_down_with_a_warning() -> None:
    message = r"\[net\] batch: 10 is not a multiple of subdivisions=4: an iteration has 8 images$"
    with pytest.warns(UnusedOptionWarning, match=message):
        network = Network(cfg.loads(CLASSIFIER)).initialise()
    network.seen = 16
    trainer = Trainer(network)
    assert trainer.iteration == 2
    trainer.step([(torch.rand(2, 3, 8, 8), torch.eye(5)[:2])] * 4)
    assert (trainer.iteration, network.seen) == (3, 24)


class Repeated:
    """The same batch in every iteration."""

    iteration = 0

    def __iter__(self) -> Iterator[Batch]:
        pair: Any = (torch.full((2, 3, 8, 8), 0.5), torch.eye(5)[:2])
        while self.iteration < 9:
            self.iteration += 1
            yield Batch(self.iteration - 1, (8, 8), [pair] * 4, [])


@pytest.mark.filterwarnings("ignore:.*is not a multiple of subdivisions")
def test_a_run_with_such_a_batch_continues_at_its_iteration(tmp_path: pathlib.Path) -> None:
    (tmp_path / "c.cfg").write_text(CLASSIFIER)
    network = resume.build_network(tmp_path / "c.cfg")
    options = TrainOptions(output=tmp_path, verbose=False, chart="", save_every=5)
    assert Trainer(network, Repeated(), options).run().iteration == 9
    assert network.seen == 72
    fifth = TrainOptions(output=tmp_path / "b", verbose=False, chart="", weights=tmp_path / "c_5.weights")
    other = resume.build_network(tmp_path / "c.cfg")
    trainer = Trainer(other, Repeated(), fifth)
    assert trainer.run().iteration == 9
    rows = (tmp_path / "b" / "c_log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["6", "7", "8", "9"]
