from __future__ import annotations

import collections
import pathlib
import random

import pytest
import torch

from darknet_py import cli, loading
from darknet_py.errors import ConfigError, DataError
from darknet_py.generate import _sample, generate_text
from darknet_py.network import Network
from darknet_py.training import resume
from darknet_py.training.options import TrainOptions
from darknet_py.training.text_batches import TextBatches, TextFile
from darknet_py.training.trainer import Trainer
from tests.helpers import random_networks

CFG = """
[net]
inputs=128
batch=16
subdivisions=2
time_steps=8
max_batches=150
learning_rate=0.5
momentum=0.9
decay=0
[rnn]
hidden=32
output=32
activation=tanh
[connected]
output=128
activation=linear
[softmax]
[cost]
type=sse
"""
TEXT = "abcd efgh. " * 40


@pytest.fixture
def network(tmp_path: pathlib.Path) -> Network:
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "r.cfg").write_text(CFG.replace("[cost]\ntype=sse\n", ""))
    return resume.build_network(tmp_path / "r.cfg", seed=1)


def test_a_batch_has_pieces_of_the_text_in_time_step_order(network: Network, tmp_path: pathlib.Path) -> None:
    batch = next(iter(TextBatches(network, tmp_path / "text.txt", seed=2)))
    assert len(batch.pairs) == 2
    for x, target in batch.pairs:
        assert isinstance(target, torch.Tensor)
        assert x.shape == target.shape == (8 * 8, 128)
        assert torch.equal(x.sum(dim=1), torch.ones(64))
        read = x.argmax(dim=1).view(8, 8).T
        following_characters = target.argmax(dim=1).view(8, 8).T
        for piece, following in zip(read, following_characters, strict=True):
            assert bytes(piece.tolist()).decode() + chr(following[-1]) in TEXT
            assert torch.equal(piece[1:], following[:-1])


def test_processes_share_the_pieces(network: Network, tmp_path: pathlib.Path) -> None:
    whole = next(iter(TextBatches(network, tmp_path / "text.txt"))).pairs[1][0].view(8, 8, 128)
    parts = [next(iter(TextBatches(network, tmp_path / "text.txt", rank=r, world_size=2))).pairs[1][0] for r in (0, 1)]
    assert torch.equal(torch.cat([part.view(8, 4, 128) for part in parts], dim=1), whole)
    with pytest.raises(ConfigError, match="3 processes"):
        TextBatches(network, tmp_path / "text.txt", world_size=3)


def test_unusable_texts_are_refused(network: Network, tmp_path: pathlib.Path) -> None:
    (tmp_path / "short.txt").write_text("abc")
    with pytest.raises(DataError, match="more than time_steps=8 characters, found 3"):
        TextBatches(network, tmp_path / "short.txt")
    (tmp_path / "high.txt").write_bytes(b"abcdefghijkl\xe4")
    with pytest.raises(DataError, match=r"character 228, but the network has inputs for 0\.\.127"):
        TextBatches(network, tmp_path / "high.txt")


def test_the_network_learns_a_text_and_continues_it(network: Network, tmp_path: pathlib.Path) -> None:
    torch.set_num_threads(1)
    Trainer(network, TextFile(tmp_path / "text.txt"), TrainOptions(output=tmp_path, verbose=False, chart="")).run()
    text = b"".join(generate_text(network, start=b"abcd", length=40, temperature=0.3))
    assert text.decode() in TEXT + TEXT
    again = b"".join(generate_text(network, start=b"abcd", length=40, temperature=0.3))
    assert again == text


def test_characters_are_sampled_by_their_probability() -> None:
    probs = torch.tensor([0.5, 0.3, 0.19995, 0.00005], dtype=torch.float64)
    rng = random.Random(0)
    counts = collections.Counter(_sample(probs, 1.0, rng) for _ in range(20000))
    assert counts[3] == 0
    for number in range(3):
        assert counts[number] / 20000 == pytest.approx(float(probs[number]), abs=0.01)
    squared = probs**2 / (probs**2).sum()
    counts = collections.Counter(_sample(probs, 0.5, rng) for _ in range(20000))
    assert counts[0] / 20000 == pytest.approx(float(squared[0]), abs=0.01)
    assert {_sample(probs, 0.0, rng) for _ in range(9)} == {0}


def test_temperature_is_that_of_the_softmax_layer(network: Network) -> None:
    random_networks.randomise(network, seed=1)
    cold = random_networks.randomise(Network(network.config), seed=1)
    x = torch.zeros(1, 128)
    x[0, 65] = 1
    plain = network(x)[-1].flatten().double()
    object.__setattr__(cold[-1].options, "temperature", 0.5)
    expected = cold(x)[-1].flatten().double()
    sharpened = plain ** (1 / 0.5)
    torch.testing.assert_close(sharpened / sharpened.sum(), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"start": b""}, "at least one"), ({"start": b"\xff"}, r"0\.\.127"), ({"temperature": -1.0}, "temperature")],
)
def test_invalid_arguments_are_refused(network: Network, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        generate_text(network, **options)  # type: ignore[arg-type]


def test_darknets_command_lines_train_and_generate(
    network: Network, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.cfg").write_text(CFG.replace("[cost]\ntype=sse\n", "").replace("=150", "=3"))
    torch.set_num_threads(1)
    assert cli.main(["rnn", "train", "r.cfg", "-file", "text.txt", "-i", "-1", "-clear"]) == 0
    assert loading.load("r.cfg", "backup/r_final.weights").seen == 3 * 16 * 8
    capsys.readouterr()
    assert cli.main(["rnn", "generate", "r.cfg", "backup/r_final.weights", "-seed", "ab", "-len", "5", "-i", "-1"]) == 0
    first = capsys.readouterr().out
    line = ["generate", "r.cfg", "backup/r_final.weights", "--start", "ab", "--length", "5", "--device", "cpu"]
    assert cli.main(line) == 0
    assert capsys.readouterr().out == first
    assert first.startswith("ab")
