"""The optimised network gives the outputs of the network, at every batch size and dtype."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import sys
import warnings

import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py.errors import UnusedOptionWarning
from darknet_py.inference import allocator, convolutions, fused_network
from darknet_py.inference.fused_network import optimise
from darknet_py.network import Network
from tests.helpers import paths, random_networks, reference_values
from tests.helpers.optimised_networks import TEXT, TOLERANCE, assert_same, max_relative_error, run

CASES = paths.GOLDEN / "cases"

each_golden = pytest.mark.parametrize("name", sorted(path.name[:-8] for path in CASES.glob("*.json.gz")))
each_rare = pytest.mark.parametrize("name", sorted(path.name[:-8] for path in paths.RARE.glob("*.json.gz")))
each_cfg = pytest.mark.parametrize("name", sorted(path.name for path in paths.CFGS.glob("*.cfg")))


def reference_network(folder: pathlib.Path, name: str, scratch: pathlib.Path) -> tuple[Network, Tensor]:
    """Return a network of a folder of reference values with its weights, and two images."""
    golden = reference_values.load(folder / f"{name}.json.gz")
    reference_values.write_weights(golden, scratch / "a.weights")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedOptionWarning)
        net = darknet_py.load(folder / f"{name}.cfg", scratch / "a.weights", dialect=golden["oracle"])
    x = torch.from_numpy(reference_values.input_array(golden, 0))
    return net, torch.cat((x, x.flip(-1)))


@each_golden
def test_golden_networks_give_the_same_outputs(name: str, tmp_path: pathlib.Path) -> None:
    assert_same(*reference_network(CASES, name, tmp_path))


@each_rare
def test_networks_of_rare_options_give_the_same_outputs(name: str, tmp_path: pathlib.Path) -> None:
    assert_same(*reference_network(paths.RARE, name, tmp_path))


@each_cfg
def test_networks_of_this_project_give_the_same_outputs(name: str) -> None:
    net = random_networks.randomise(Network(darknet_py.cfg.load(paths.CFGS / name), size=(96, 64)))
    assert (
        max_relative_error(
            run(net, random_networks.random(1, 3, 64, 96, low=0)),
            run(optimise(net), random_networks.random(1, 3, 64, 96, low=0)),
        )
        < TOLERANCE
    )


@pytest.mark.parametrize("packed", [False, True])
def test_outputs_are_the_same_with_and_without_onednn(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if packed and not convolutions.has_onednn():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(fused_network, "has_onednn", lambda: packed)
    net, x = random_networks.network(TEXT.format(before="swish", after="relu")), random_networks.random(2, 3, 12, 16)
    fused = optimise(net)
    assert any(isinstance(step, convolutions.PackedConvolution) for step in fused.steps) == packed
    assert max_relative_error(run(net, x), run(fused, x)) < TOLERANCE


def test_a_large_batch_runs_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = random_networks.network(TEXT.format(before="leaky", after="linear")), random_networks.random(7, 3, 12, 16)
    fused, sizes = optimise(net), []
    monkeypatch.setattr(
        "darknet_py.inference.fused_network._CACHE", 2 * 4 * (24 + 12) * 12 * 16 // torch.get_num_threads()
    )
    fused.steps[0].register_forward_hook(lambda _step, inputs, _y: sizes.append(len(inputs[0])))
    assert max_relative_error(run(net, x), run(fused, x)) < TOLERANCE
    assert sizes == [2, 2, 2, 1]


def test_another_input_size_than_that_of_the_cfg() -> None:
    net, x = random_networks.network(TEXT.format(before="mish", after="linear")), random_networks.random(1, 3, 20, 28)
    assert max_relative_error(run(net, x), run(optimise(net), x)) < TOLERANCE


def test_the_input_is_not_changed() -> None:
    net = random_networks.network(
        "[net]\nwidth=4\nheight=4\nchannels=3\n[conv]\nfilters=3\nactivation=linear\n[shortcut]\nfrom=-1\n"
    )
    x = random_networks.random(1, 3, 4, 4).to(memory_format=torch.channels_last)
    before = x.clone()
    run(optimise(net), x)
    assert torch.equal(x, before)


def test_changes_of_the_weights_take_effect() -> None:
    net, x = random_networks.network(TEXT.format(before="leaky", after="linear")), random_networks.random(1, 3, 12, 16)
    fused = optimise(net)
    first = run(fused, x)
    random_networks.randomise(net, seed=1)
    assert max_relative_error(first, run(fused, x)) > 0.01
    assert max_relative_error(run(net, x), run(fused, x)) < TOLERANCE


def test_the_state_is_shared_with_the_network() -> None:
    text = "[net]\nwidth=5\nheight=1\nchannels=1\nbatch=1\n[rnn]\nhidden=4\noutput=3\nactivation=tanh\n"
    net = random_networks.network(text.replace("width=5\nheight=1\nchannels=1", "inputs=5"))
    fused, x = optimise(net), random_networks.random(1, 5)
    expected = [net(x)[0].detach() for _ in range(3)]
    net.reset()
    outputs = [fused(x)[0].detach() for _ in range(3)]
    assert not torch.equal(outputs[0], outputs[2])
    assert max_relative_error(expected, outputs) < TOLERANCE
    fused.reset()
    assert max_relative_error([expected[0]], fused(x)) < TOLERANCE


def test_the_mode_and_precision_of_the_original_network_do_not_matter() -> None:
    net, x = random_networks.network(TEXT.format(before="leaky", after="linear")), random_networks.random(2, 3, 12, 16)
    fused = optimise(net)
    expected = fused(x)[0]
    net.train()
    assert torch.equal(fused(x)[0], expected)
    assert all(module.training for module in net.modules())
    net.double()
    torch.testing.assert_close(fused(x)[0], expected, rtol=1e-4, atol=1e-5)


ROOT = pathlib.Path(__file__).parents[2]
CPUS = pytest.mark.parametrize("has_bf16", [False, True], ids=["avx2", "avx512_bf16"])


@pytest.fixture
def cpu(has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Simulate a CPU with or without bfloat16 in hardware."""
    if has_bf16 and not convolutions.has_fast_bf16():
        pytest.skip("this CPU computes in bfloat16 by emulation only")
    for module in (fused_network, convolutions):
        monkeypatch.setattr(module, "has_fast_bf16", lambda: has_bf16)
    return has_bf16


@CPUS
def test_bf16_outputs_are_close(cpu: bool) -> None:
    net, x = random_networks.network(TEXT.format(before="mish", after="linear")), random_networks.random(2, 3, 12, 16)
    fused = optimise(net, dtype="bf16")
    error = max_relative_error(run(net, x), run(fused, x))
    assert 1e-4 < error < 3e-2
    has_packed = any(isinstance(step, convolutions.PackedConvolution) for step in fused.steps)
    assert has_packed == (cpu and convolutions.has_onednn()), "oneDNN cannot pack bfloat16 weights on other CPUs"


PROGRAM = """
import torch
from darknet_py import cfg, optimise
from darknet_py.network import Network
text = "[net]\\nwidth=8\\nheight=8\\nchannels=3\\n[convolutional]\\nfilters=4\\nsize=3\\n"
net = Network(cfg.loads(text)).initialise()
x = torch.rand(1, 3, 8, 8)
with torch.inference_mode():
    error = (optimise(net, dtype="bf16")(x)[0] - net(x)[0]).abs().max()
print(torch.ops.mkldnn._is_mkldnn_bf16_supported(), float(error) < 0.01)
"""


@pytest.mark.skipif(not convolutions.has_onednn(), reason="this build of torch has no oneDNN")
def test_bf16_on_a_cpu_restricted_to_avx2() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == ["False", "True"], result.stderr


@CPUS
def test_fp16_on_a_cpu_is_refused_and_the_alternative_runs(cpu: bool) -> None:
    net = random_networks.network(TEXT.format(before="mish", after="linear"))
    with pytest.raises(ValueError, match="dtype: fp16 needs a GPU") as error:
        optimise(net, dtype="fp16")
    assert ("bf16" in str(error.value)) == cpu


@CPUS
def test_fp32_is_packed_on_every_cpu(cpu: bool) -> None:
    steps = optimise(random_networks.network(TEXT.format(before="mish", after="linear"))).steps
    assert any(isinstance(step, convolutions.PackedConvolution) for step in steps) == convolutions.has_onednn()


def test_an_error_names_the_layer() -> None:
    text = "[net]\nwidth=4\nheight=4\nchannels=3\n[conv]\nfilters=3\n[maxpool]\n[connected]\noutput=2\n"
    with pytest.raises(RuntimeError) as error:
        optimise(random_networks.network(text))(torch.zeros(1, 3, 8, 8))
    assert error.value.__notes__ == ["in layer 2 [connected] (made.cfg:8), input shapes (1, 3, 8, 8)"]


def test_constructors_do_not_change_the_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: pytest.fail("changed the allocator"))
    monkeypatch.setattr("ctypes.CDLL", lambda *_: pytest.fail("changed the allocator"))
    optimise(random_networks.network(TEXT.format(before="mish", after="linear")))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "limit"), [("fp32", 5e-3), ("bf16", 3e-2), ("fp16", 5e-3)])
def test_outputs_on_a_gpu_are_close(dtype: str, limit: float) -> None:
    net, x = random_networks.network(TEXT.format(before="mish", after="leaky")), random_networks.random(2, 3, 12, 16)
    expected = run(net, x)
    outputs = run(optimise(net.cuda(), dtype=dtype), x.cuda())
    assert max_relative_error(expected, [y.cpu() for y in outputs]) < limit


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_on_a_gpu() -> None:
    net = random_networks.network(TEXT.format(before="mish", after="leaky")).cuda()
    fused = optimise(net, graph=True)
    for seed, batch in enumerate((1, 2, 1, 3, 4, 5, 1)):
        x = random_networks.random(batch, 3, 12, 16, seed=seed).cuda()
        with torch.inference_mode(batch % 2 == 0):
            assert max_relative_error(run(net, x), run(fused, x)) < 5e-3


def test_cuda_graphs_need_a_gpu() -> None:
    with pytest.raises(ValueError, match="graph: needs a stateless network on a CUDA device"):
        optimise(random_networks.network(TEXT.format(before="leaky", after="linear")), graph=True)


def test_peak_activation_memory_is_that_of_the_outputs_alive_at_once() -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=2\n" + "[convolutional]\nfilters={}\nactivation=leaky\n" * 3
    fused = optimise(random_networks.network(text.format(4, 16, 1) + "[route]\nlayers=0,2\n"))
    assert fused.peak_activation_memory() == 4 * 64 * (4 + 16 + 1)
    assert fused.peak_activation_memory(3) == 3 * fused.peak_activation_memory()


def test_freed_memory_is_kept_with_glibc() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from darknet_py.inference.allocator import keep_freed_memory; print(keep_freed_memory())",
        ],
        env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "False"  # settings in the environment take precedence
    assert allocator.keep_freed_memory() == (
        platform.libc_ver()[0] == "glibc" and "MALLOC_TRIM_THRESHOLD_" not in os.environ
    )


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_unsupported_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match="dtype"):
        optimise(random_networks.network(TEXT.format(before="leaky", after="linear")), dtype=dtype)
