"""Plain weights are freed once they are packed if only the detector has the network, and come back when asked for."""

from __future__ import annotations

import copy
import functools
import pathlib
import pickle
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import darknet_py
from darknet_py import cli
from darknet_py.classifier import Classifier
from darknet_py.detector import Detector
from darknet_py.errors import WeightsError
from darknet_py.evaluation.evaluator import evaluate
from darknet_py.inference import engines, fused_network, steps
from darknet_py.loading import NetworkLoader, load
from darknet_py.network import Network
from darknet_py.tiling import TiledDetector
from tests.helpers import devices, noise_dataset, random_networks
from tests.helpers.network_states import DETECTOR, boxes, image, network

SHARED = """
[net]
width=8
height=8
channels=3
[conv]
filters=3
size=3
pad=1
activation=leaky
[conv]
filters=3
size=3
pad=1
share_index=0
[conv]
filters=5
size=3
batch_normalize=1
[connected]
output=4
[softmax]
"""


def is_freed(tensor: Tensor) -> bool:
    return tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size()


def freed(net: Network) -> list[str]:
    """Names of the weights without values."""
    return [name for name, tensor in net.named_parameters() if tensor.numel() > 1 and is_freed(tensor)]


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    """A cfg and its weights."""
    net = network()
    (tmp_path / "a.cfg").write_text(DETECTOR)
    darknet_py.save(net, tmp_path / "a.weights")
    return [str(tmp_path / "a.cfg"), str(tmp_path / "a.weights")]


@pytest.fixture
def loader(files: list[str]) -> NetworkLoader:
    return NetworkLoader(functools.partial(load, *files))


def test_weights_are_freed_and_come_back(loader: NetworkLoader, files: list[str], tmp_path: pathlib.Path) -> None:
    kept = Detector(load(*files), threshold=0.1)
    detector = Detector(loader, threshold=0.1)
    expected = boxes(kept(image()))
    assert len(expected[0]) > 0
    for _ in range(2):
        assert all(map(torch.equal, boxes(detector(image())), expected))
    assert freed(kept.architecture) == []
    convolutions = {f"layers.{n}.weights" for n, x in enumerate(detector.architecture) if x.as_convolution()}
    assert convolutions
    assert convolutions <= set(freed(detector.architecture))
    shapes = {name: tuple(tensor.shape) for name, tensor in kept.network.state_dict().items()}
    assert {name: tuple(t.shape) for name, t in detector.architecture.state_dict().items()} == shapes
    run = detector.run
    darknet_py.save(detector.network, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == pathlib.Path(files[1]).read_bytes()
    assert detector.run is run  # which has packed the same
    with torch.no_grad():
        detector.network[0].get_parameter("weights").zero_()
        kept.network[0].get_parameter("weights").zero_()
    assert all(map(torch.equal, boxes(detector(image())), boxes(kept(image()))))
    assert freed(detector.architecture) == []  # somebody has the network now


def test_a_network_that_was_asked_for_first_is_kept(loader: NetworkLoader) -> None:
    detector = Detector(loader)
    net = detector.network
    detector(image())
    assert freed(net) == []


def test_weights_are_freed_layer_by_layer(loader: NetworkLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector(loader)
    weights = [weakref.ref(tensor) for tensor in detector.architecture.parameters()]
    counts = []

    def counting(*args: Any, **options: Any) -> Any:
        counts.append(sum(reference() is None for reference in weights))
        return steps.fuse(*args, **options)

    monkeypatch.setattr("darknet_py.inference.fused_network.fuse", counting)
    detector.run(torch.zeros(1, *detector.architecture.shape))
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert len(set(counts)) > 2


CHANGES: dict[str, Callable[[Detector], Any]] = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda detector: pickle.loads(pickle.dumps(detector)),
    "options": lambda detector: detector.with_options(max_detections=9999),
    "plain": lambda detector: setattr(detector, "engine", "plain"),
    "refresh": lambda detector: detector.refresh(),
    "auto": lambda detector: setattr(detector, "engine", "auto"),
    "pickled engine": lambda detector: pickle.loads(pickle.dumps(detector.run)) and None,
    "tiles": lambda detector: copy.deepcopy(TiledDetector(detector)).detector,
}


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_what_else_uses_the_network(change: str, used: bool, loader: NetworkLoader, files: list[str]) -> None:
    expected = boxes(Detector(load(*files), threshold=0.1)(image()))
    detector = Detector(loader, threshold=0.1)
    if used:
        detector(image())
    other = CHANGES[change](detector)
    for one in (detector, other or detector, detector):
        for a, b in zip(boxes(one(image())), expected, strict=True):
            torch.testing.assert_close(a, b)
    for one in (detector, other or detector):
        assert torch.equal(one.network[0].get_parameter("weights"), load(*files)[0].get_parameter("weights"))


def test_a_loader_gives_each_a_network_of_its_own(loader: NetworkLoader) -> None:
    first, second = Detector(loader, threshold=0.1), Detector(loader, threshold=0.1)
    assert all(map(torch.equal, boxes(first(image())), boxes(second(image()))))
    assert first.architecture is not second.architecture


def test_a_file_that_has_changed_is_refused(loader: NetworkLoader, files: list[str]) -> None:
    detector = Detector(loader, threshold=0.1)
    expected = boxes(detector(image()))
    other = load(*files)
    with torch.no_grad():
        other[2].get_parameter("biases").add_(1)
    darknet_py.save(other, files[1])
    with pytest.raises(WeightsError, match=r"a.cfg: layer 2: its weights were freed once they were packed, and"):
        detector.network  # noqa: B018
    assert all(map(torch.equal, boxes(detector(image())), expected))
    pathlib.Path(files[1]).unlink()
    with pytest.raises(WeightsError, match=r"a.weights: No such file"):
        detector.network  # noqa: B018


def test_an_interruption_leaves_no_network_without_weights(
    loader: NetworkLoader, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse, calls = steps.fuse, iter(range(99))

    def interrupted(*args: Any, **options: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return fuse(*args, **options)

    monkeypatch.setattr("darknet_py.inference.fused_network.fuse", interrupted)
    detector = Detector(loader, threshold=0.1)
    with pytest.raises(KeyboardInterrupt):
        detector(image())
    assert all(map(torch.equal, boxes(detector(image())), boxes(Detector(load(*files), threshold=0.1)(image()))))


def test_threads_build_one_engine(loader: NetworkLoader, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(0.1)  # until all threads want an engine
        return engines.create_engine(*args, **options)

    monkeypatch.setattr("darknet_py.inference.predictor.create_engine", slow)
    expected = boxes(Detector(load(*files), threshold=0.1)(image()))
    detector, results = Detector(loader, threshold=0.1), []
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(3):
            results.append(boxes(detector(image())))
            if number % 2:
                detector.network.get_parameter("layers.0.weights").sum()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 18
    assert all(all(map(torch.equal, result, expected)) for result in results)


def test_shared_and_unpacked_weights_stay(tmp_path: pathlib.Path) -> None:
    net = random_networks.network(SHARED)
    (tmp_path / "a.cfg").write_text(SHARED)
    darknet_py.save(net, tmp_path / "a.weights")
    classifier = Classifier(NetworkLoader(functools.partial(load, tmp_path / "a.cfg", tmp_path / "a.weights")))
    assert torch.equal(classifier(image()).probs, Classifier(net)(image()).probs)
    names = freed(classifier.architecture)
    assert {name.split(".")[1] for name in names} == {"2"}
    classifier.refresh()
    assert torch.equal(classifier(image()).probs, Classifier(net)(image()).probs)


def test_random_weights_are_kept(files: list[str]) -> None:
    detector = Detector(NetworkLoader(functools.partial(load, files[0])))
    with pytest.warns(match="random weights"):
        detector(image())
    assert freed(detector.architecture) == []


def test_the_plain_engine_keeps_the_network(loader: NetworkLoader) -> None:
    detector = Detector(loader, engine="plain")
    detector(image())
    assert freed(detector.architecture) == []


def test_a_fused_network_refreshes_itself(loader: NetworkLoader, files: list[str]) -> None:
    detector = Detector(loader, threshold=0.1, engine="torch")
    assert isinstance(detector.run, fused_network.FusedNetwork)
    assert freed(detector.architecture)
    detector.run.refresh()
    assert all(map(torch.equal, boxes(detector(image())), boxes(Detector(load(*files), threshold=0.1)(image()))))


def test_names_evaluation_and_commands_free_them(
    files: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Network] = []
    prepare = fused_network.FusedNetwork._prepare

    def watched(self: fused_network.FusedNetwork) -> None:
        prepare(self)
        made.append(self._network[0])

    monkeypatch.setattr(fused_network.FusedNetwork, "_prepare", watched)
    monkeypatch.chdir(tmp_path)
    darknet_py.save(load(*files), tmp_path / "a.pt")
    Detector(tmp_path / "a.pt")(image())
    net = noise_dataset.detector(tmp_path)
    darknet_py.save(net, tmp_path / "noise.pt")
    data = str(noise_dataset.images(tmp_path) / "my.data")
    evaluate(tmp_path / "noise.pt", data, progress=False)
    Image.fromarray(image()).save(tmp_path / "a.png")
    (tmp_path / "a.data").write_text("classes=2\n")
    assert cli.main(["detect", *files, "a.png"]) == 0
    assert cli.main(["evaluate", "noise.pt", data, "--quiet"]) == 0
    assert cli.main(["detector", "test", "a.data", *files, "a.png"]) == 0
    assert len(made) == 5
    assert all(freed(each) for each in made)


def test_weights_on_a_device(device: str, files: list[str]) -> None:
    def on_device() -> Network:
        net = load(*files)
        devices.move(net, device)
        return net

    expected = boxes(Detector(load(*files), threshold=0.1)(image()))
    detector = Detector(NetworkLoader(on_device), threshold=0.1)
    for _ in range(2):
        for a, b in zip(boxes(detector(image())), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)
    assert freed(detector.architecture)
    assert {tensor.device.type for tensor in detector.architecture.parameters()} == {device}
    assert next(detector.network.parameters()).device.type == device
    detector.refresh()
    detector(image())
