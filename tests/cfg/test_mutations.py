"""Values of cfgs are replaced by others: every outcome is a network or a ConfigError."""

from __future__ import annotations

import pathlib
import random
import time
from contextlib import suppress
from typing import Any

import pytest
import torch

from darknet_py import cfg
from darknet_py.cfg import schema
from darknet_py.cfg.editing import replace_values
from darknet_py.cfg.net_section import NAMES, Net
from darknet_py.errors import ConfigError, DataError
from darknet_py.layers import LAYERS
from darknet_py.network import Network

CASES = sorted((pathlib.Path(__file__).parents[1] / "golden" / "cases").glob("*.cfg"))
VALUES = (
    *("0", "-1", "1", "2", "3", "65536", "1000000000", "300000000", "2147483647", "-2147483648", "9223372036854775808"),
    *("1" + "0" * 30, "9" * 5000, "nan", "inf", "-inf", "1e308", "1e-320", "0.5", "-0.5", "1,2,3", "1,,2", "0,-1"),
    *("1,2,-3", ",".join(["7"] * 999), "x", "", "../../../etc/passwd", "/dev/zero", "linear", "١٢", "\x1b[2J", "3 4"),
)
MOST_SECONDS = 5
LIMIT = 2 * 10**9  # bytes

pytestmark = pytest.mark.filterwarnings("ignore::darknet_py.UnusedOptionWarning")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_any_value_of_any_key_gives_a_network_or_an_error(path: pathlib.Path) -> None:
    rng = random.Random(path.name)
    config = cfg.load(path)
    for index, section in enumerate(config.sections):
        known = schema.keys(Net if section.name in NAMES else LAYERS[section.name].Options)
        for key in rng.sample(sorted(known), 3) + [entry.key for entry in section.entries]:
            value = rng.choice(VALUES)
            text = replace_values(config, {index: {key: value}})
            start = time.perf_counter()
            with suppress(ConfigError, DataError):
                network = Network(cfg.loads(text, str(path)), max_bytes=LIMIT)
                assert min(network.shape) > 0
                assert all(min(layer.shape) > 0 for layer in network), (section.name, key, value)
            assert time.perf_counter() - start < MOST_SECONDS, (section.name, key, value)


def test_every_number_has_a_range() -> None:
    """Numbers of layers, which the network checks, and factors of either sign have that of C's type."""
    unlimited = {
        (kind.names[0], key)
        for kind in LAYERS.values()
        for key, option in schema.keys(kind.Options).items()
        if schema.type_hints(kind.Options)[option.name] in (int, float, tuple[int, ...], tuple[float, ...], int | None)
        and option.metadata["min"] is None
    }
    assert unlimited == {
        ("convolutional", "share_index"),
        ("contrastive", "yolo_layer"),
        ("conv_lstm", "time_normalizer"),
        ("cost", "scale"),
        ("implicit", "mean"),
        *((name, key) for name in ("normalization",) for key in ("alpha", "beta", "kappa")),
        *(
            (name, "from")
            for name in ("control_channels", "sam", "scale_channels", "shift_channels", "shortcut", "yolo")
        ),
        ("region", "classfix"),
        *((name, "layers") for name in ("route", "route2", "route_lhalf")),
        ("shortcut", "alpha"),
        ("shortcut", "beta"),
        ("upsample", "scale"),
        *((name, key) for name in ("yolo", "Gaussian_yolo") for key in ("ignore_thresh", "truth_thresh", "iou_thresh")),
        *(("yolo", key) for key in ("track_history_size", "sim_thresh", "dets_for_track", "dets_for_show")),
        *(("yolo", key) for key in ("track_ciou_norm", "embedding_layer")),
    }
    assert all(
        option.metadata["min"] is not None
        for option in schema.keys(Net).values()
        if isinstance(option.default, int | float) and not isinstance(option.default, bool)
    )


def test_what_exceeds_the_memory_is_refused_with_the_sum_and_the_largest_layer() -> None:
    text = "[net]\nwidth=1000\nheight=1000\nchannels=3\n[conv]\nfilters=10\n[conv]\nfilters=100\nsize=3\npad=1\n"
    outputs = 4 * 10**6 * (10 + 100)  # the convolution's input and output
    weights = 4 * (10 * 3 + 10 + 100 * 10 * 9 + 100)
    total = outputs + weights + 2 * 4 * 3 * 10**6
    Network(cfg.loads(text, "x.cfg"), max_bytes=total)
    with pytest.raises(ConfigError) as error:
        Network(cfg.loads(text, "x.cfg"), max_bytes=total - 1)
    assert str(error.value) == (
        "x.cfg:7: layer 1 [conv] needs the most memory, 0.400 GB for an output of 1000 x 1000 x 100 and its "
        "parameters; the network needs 0.464 GB (0.000 GB parameters, 0.452 GB image and outputs, "
        "0.012 GB resizing), expected at most 0.464 GB (max_bytes)"
    )


def test_the_workspace_of_a_transposed_convolution_is_counted() -> None:
    text = "[net]\nwidth=10\nheight=10\nchannels=3\n[deconv]\nfilters=1000\nsize=3\npad=1\n"
    image, output, workspace = 4 * 3 * 100, 4 * 1000 * 100, 4 * 1000 * 9 * 100
    total = 2 * image + output + workspace + 4 * (3 * 1000 * 9 + 1000)
    Network(cfg.loads(text, "x.cfg"), max_bytes=total)
    with pytest.raises(
        ConfigError, match=r"0\.004 GB for an output of 10 x 10 x 1000 and its parameters and workspace"
    ):
        Network(cfg.loads(text, "x.cfg"), max_bytes=total - 1)


def test_nothing_is_allocated_before_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated: list[torch.device] = []
    empty = torch.empty

    def record(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*args, **kwargs)
        allocated.append(tensor.device)
        return tensor

    monkeypatch.setattr(torch, "empty", record)
    with pytest.raises(ConfigError, match=r"x.cfg:5: layer 0 \[conv\] needs the most memory, .* GB"):
        Network(cfg.loads("[net]\nwidth=8\nheight=8\nchannels=900000\n[conv]\nfilters=900000\nsize=9\npad=1", "x.cfg"))
    assert {device.type for device in allocated} == {"meta"}


def test_the_reader_is_linear() -> None:
    def seconds(count: int) -> float:
        text = "[net]\nwidth=8\nheight=8\nchannels=1\n[dropout]\n" + "".join(f"key{n}=1\n" for n in range(count))
        start = time.perf_counter()
        Network(cfg.loads(text))
        return time.perf_counter() - start

    seconds(100)
    assert seconds(40_000) < 4


@pytest.mark.parametrize("stride", [4, 65536])
def test_a_stack_of_upsamplings_is_refused(stride: int) -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=1\n" + f"[upsample]\nstride={stride}\n" * 2000
    with pytest.raises(ConfigError, match="larger than any memory"):
        Network(cfg.loads(text))
