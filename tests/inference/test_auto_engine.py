"""Engine auto: torch first, one trial after 20 images, a choice that is kept, and torch again after new weights."""

from __future__ import annotations

import copy
import pathlib
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import darknet_py
from darknet_py import cli
from darknet_py.errors import DarknetError
from darknet_py.inference import auto_engine, engine_choice, engines, timing
from darknet_py.inference.auto_engine import AutoEngine
from darknet_py.network import Network
from tests.helpers import export_networks, random_networks
from tests.helpers.counted_engines import Counted


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path))
    monkeypatch.delenv(auto_engine.VARIABLE, raising=False)
    monkeypatch.setattr(timing, "_PAUSE", 0.0)
    monkeypatch.setattr(engine_choice, "_SECONDS", 0.0)
    return tmp_path


@pytest.fixture
def net() -> Network:
    return export_networks.detector()


def images(net: Network, count: int = 1) -> Tensor:
    return random_networks.random(count, *net.shape, low=0)


def test_the_fastest_is_chosen_after_twenty_images(net: Network) -> None:
    made = Counted(net, {"torch": 0.02, "quick": 0.0, "slow": 0.04})
    run = AutoEngine(net, made.candidates)
    for _ in range(4):
        run(images(net, 4))
    assert made.opened == {"torch": 1, "quick": 0, "slow": 0}
    run(images(net, 4))
    assert run.engine_for(4) == "quick"
    assert made.opened == {"torch": 1, "quick": 1, "slow": 1}
    before = dict(made.calls)
    run(images(net, 4))
    run(images(net, 3))  # the rest of a list
    assert made.calls == before | {"quick": before["quick"] + 1, "torch": before["torch"] + 1}


def test_a_choice_is_kept_and_waits_for_the_conversion(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    AutoEngine(net, Counted(net, {"torch": 0.02, "quick": 0.0}).candidates).choose(images(net))
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    run = AutoEngine(net, made.candidates)
    run(images(net))
    assert run.engine_for(1) == "torch"  # converting for one image does not pay
    for _ in range(19):
        run(images(net))
    assert run.engine_for(1) == "quick"
    assert made.opened == {"torch": 1, "quick": 1}  # no second trial
    monkeypatch.setattr(auto_engine, "is_converted", lambda *_: True)
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    again = AutoEngine(net, made.candidates)
    again(images(net))
    assert again.engine_for(1) == "quick"
    assert made.opened == {"torch": 0, "quick": 1}  # packing the weights takes time and memory
    again(images(net, 2))
    assert made.opened == {"torch": 1, "quick": 1}
    other = AutoEngine(net, made.candidates, "bf16")
    other(images(net))
    assert other.engine_for(1) == "torch"


def test_an_engine_with_other_outputs_or_none_is_left_out(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    made.factor = 1.001

    def refuse() -> engines.Engine:
        raise DarknetError("engine other: cannot convert the network: no such operator")

    run = AutoEngine(net, made.candidates | {"other": refuse})
    with caplog.at_level("INFO"):
        choice = run.choose(images(net))
    assert choice.engine == run.engine_for(1) == "torch"
    assert choice.left_out["quick"].startswith("its outputs differ from the network's by 1.0e-03 of their RMS")
    assert "engine auto: without other: engine other: cannot convert" in caplog.text


def test_an_engine_that_fails_or_is_wrong_for_a_batch_is_left_out(net: Network) -> None:
    def refuse(x: Tensor) -> list[Tensor]:
        if len(x) > 1:
            raise DarknetError("engine refuse: out of memory")
        return net.predict(x)

    def first(x: Tensor) -> list[Tensor]:
        return [y.expand(len(x), *y.shape[1:]) for y in net.predict(x[:1])]

    run = AutoEngine(net, Counted(net, {"torch": 0.02}).candidates | {"refuse": lambda: refuse, "first": lambda: first})
    choice = run.choose(images(net, 3))
    assert choice.engine == "torch"
    assert choice.left_out["refuse"] == "engine refuse: out of memory"
    assert "its outputs differ" in choice.left_out["first"]
    assert set(choice.left_out) == {"refuse", "first"}


def test_an_engine_that_fails_later_is_left(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    run = AutoEngine(net, made.candidates)
    run.choose(images(net))

    def fail(_: Tensor) -> list[Tensor]:
        raise DarknetError("quick: no memory")

    run._engines["quick"] = fail
    x = images(net)
    assert torch.equal(run(x)[0], net.predict(x)[0])
    assert run.engine_for(1) == "torch"
    assert "quick: no memory: torch is used" in caplog.text
    run._engines["torch"] = fail
    with pytest.raises(DarknetError, match="quick: no memory"):
        run(x)


def test_new_weights_start_again_with_torch(net: Network) -> None:
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    run = AutoEngine(net, made.candidates)
    run.choose(images(net))
    assert run.engine_for(1) == "quick"
    with torch.no_grad():
        next(net.parameters()).mul_(1.5)
    run(images(net))
    assert run.engine_for(1) == "torch"


def test_a_network_that_nobody_else_has_is_watched_once_it_is_given_out(net: Network) -> None:
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    candidates = {"torch": lambda **_: made.open("torch", 0.02), "quick": made.candidates["quick"]}
    run = AutoEngine(net, candidates, reload=lambda: copy.deepcopy(net))
    weight = next(net.parameters())
    run.choose(images(net))
    with torch.no_grad():
        weight.add_(1)
    run(images(net))
    assert run.engine_for(1) == "quick"  # it did not look: nobody else could have changed them
    run.restore()
    with torch.no_grad():
        weight.add_(1)
    run(images(net))
    assert run.engine_for(1) == "torch"


def test_other_sizes_run_in_torch(net: Network) -> None:
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    run = AutoEngine(net, made.candidates)
    run.choose(images(net))
    before = made.calls["torch"]
    run(random_networks.random(1, 3, 128, 128, low=0))
    assert made.calls["torch"] == before + 1


def test_threads_share_one_trial(net: Network) -> None:
    made = Counted(net, {"torch": 0.001, "quick": 0.0})
    run = AutoEngine(net, made.candidates)
    x = images(net)
    expected = net.predict(x)
    with ThreadPoolExecutor(4) as threads:
        for outputs in threads.map(lambda _: run(x), range(40)):
            assert all(torch.allclose(y, wanted, atol=1e-5) for y, wanted in zip(outputs, expected, strict=True))
    assert made.opened["quick"] <= 2


def test_a_variable_names_the_engine(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(auto_engine.VARIABLE, "quick")
    made = Counted(net, {"torch": 0.0, "quick": 0.0})
    run = AutoEngine(net, made.candidates)
    run(images(net))
    assert made.calls == {"torch": 0, "quick": 1}
    monkeypatch.setenv(auto_engine.VARIABLE, "fast")
    with pytest.raises(DarknetError, match="DARKNET_PY_ENGINE: expected one of torch, quick, got 'fast'"):
        AutoEngine(net, made.candidates)


def test_a_damaged_choice_is_made_again(net: Network, home: pathlib.Path) -> None:
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    AutoEngine(net, made.candidates).choose(images(net))
    (file,) = (home / "engines" / "choices").iterdir()
    for text in ("", "{}", "[1]", '{"engine": "gone", "ms": {}, "left_out": {}}'):
        file.write_text(text)
        run = AutoEngine(net, made.candidates)
        for _ in range(20):
            run(images(net))
        assert run.engine_for(1) == "quick"


def test_where_nothing_can_be_kept_torch_stays(
    net: Network, home: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("DARKNET_PY_HOME", str(home / "file"))
    caplog.set_level("INFO", "darknet_py")
    made = Counted(net, {"torch": 0.02, "quick": 0.0})
    run = AutoEngine(net, made.candidates)
    for _ in range(45):
        run(images(net))
    assert made.opened == {"torch": 1, "quick": 0}
    assert caplog.text.count("torch is used: a choice could not be kept") == 1


def test_installed_engines_are_tried_and_copied(net: Network) -> None:
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    run = engines.create_engine(net, "auto")
    assert isinstance(run, AutoEngine)
    choice = run.choose(images(net))
    assert set(choice.ms) == {
        name for name in ("torch", "openvino", "onnxruntime", "ncnn") if engines.is_installed(name)
    }
    expected = net.predict(images(net))
    for one in (run, copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        assert all(torch.allclose(y, e, atol=1e-4) for y, e in zip(one(images(net)), expected, strict=True))


def test_benchmark_chooses(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.cfg").write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=4\nsize=3\n[avgpool]\n")
    assert cli.main(["benchmark", str(tmp_path / "a.cfg"), "--choose", "--batch", "2"]) == 0
    assert "for batches of 2" in capsys.readouterr().out
    assert len(list((tmp_path / "engines" / "choices").iterdir())) == 1
    (tmp_path / "b.cfg").write_text("[net]\ninputs=4\n[rnn]\nhidden=4\noutput=3\n")
    assert cli.main(["benchmark", str(tmp_path / "b.cfg"), "--choose"]) == 1
    assert "nothing to choose" in capsys.readouterr().err


def test_verbose_says_what_auto_does(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(auto_engine, "IMAGES", 1)

    def candidates(net: Network, _: str) -> dict[str, Callable[..., engines.Engine]]:
        made = Counted(net, {"torch": 0.01, "quick": 0.0})
        return {"torch": lambda **_: made.open("torch", 0.01), "quick": made.candidates["quick"]}

    image = str(tmp_path / "a.png")
    Image.new("RGB", (96, 96)).save(image)
    monkeypatch.setattr(engines, "_candidates", candidates)
    assert cli.main(["detect", "digits", image]) == 0
    assert "engine auto" not in capsys.readouterr().err
    for choice in (tmp_path / "engines" / "choices").iterdir():
        choice.unlink()
    assert cli.main(["detect", "digits", image, "--verbose"]) == 0
    assert "engine auto: quick for batches of 1: quick " in capsys.readouterr().err


def test_a_trial_of_a_small_network_takes_no_longer_than_that_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_PAUSE", 0.05)
    monkeypatch.setattr(engine_choice, "_SECONDS", 0.3)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    net = export_networks.detector()
    x = torch.zeros(1, *net.shape)
    heads = net.predict(x)
    started = time.perf_counter()
    choice = engine_choice.try_engines(net, {name: lambda: lambda _x: heads for name in ("torch", "other")}, x)
    assert time.perf_counter() - started > 0.6  # of calls
    assert pauses == [0.05] * 6  # three for each engine, however short a call is
    assert set(choice.ms) == {"torch", "other"}


def test_it_is_the_default(net: Network) -> None:
    assert isinstance(darknet_py.Detector(net).run, AutoEngine)
    for command, engine in (("detect", "auto"), ("evaluate", "auto"), ("classify", "auto"), ("serve", "torch")):
        sources = {"detect": ["a.png"], "evaluate": ["a.data"], "classify": ["a.png"]}.get(command, [])
        assert cli.build_parser().parse_args([command, "a.cfg", "a.weights", *sources]).engine == engine


@pytest.mark.slow
def test_the_boxes_of_later_images_are_those_of_the_first(tmp_path: pathlib.Path) -> None:
    """With the engines that are installed: the twentieth image starts their trial."""
    detector = darknet_py.Detector("digits", threshold=0.01)
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    first = detector(images[0])
    assert len(first.boxes)
    for _ in range(auto_engine.IMAGES):
        detector(images[1])
    assert isinstance(detector.run, AutoEngine)
    assert 1 in detector.run._names  # the choice is made, whatever it is
    torch.testing.assert_close(detector(images[0]).boxes.data, first.boxes.data, rtol=1e-4, atol=1e-3)
