"""``prune``: what is removed, what it leaves behind in other layers, the files, and what it refuses."""

from __future__ import annotations

import json
import pathlib

import pytest
import torch

import darknet_py as dk
from darknet_py import loading
from darknet_py.errors import ConfigError
from darknet_py.network import Network
from tests.helpers import opencv_versions, paths, pruned_networks, random_networks
from tests.helpers.pruned_networks import part

NET = "[net]\nwidth=12\nheight=12\nchannels=3\n"
CONV = "[convolutional]\nbatch_normalize=1\nfilters={}\nsize={}\nactivation=leaky\n"
LAST = "[convolutional]\nfilters=4\nactivation=linear\n"
LIBRARY = pathlib.Path("/usr/lib/darknet/libdarknet.so")


def network(*scales: tuple[float, ...], size: int = 1, more: str = "", last: str = LAST) -> Network:
    """Build convolutions with these scales, and ``last`` after them."""
    layers = "".join(CONV.format(len(row), size) + more for row in scales)
    net = random_networks.network(NET + layers + last)
    for index, row in enumerate(scales):
        part(net, index).norm.scales.data[:] = torch.tensor(row)
    return net


def channels(net: Network) -> list[int]:
    return [layer.shape.channels for layer in net]


def test_the_channels_with_the_smallest_scales_of_the_whole_network_go() -> None:
    net = network((1, -0.1, 3, 0.4), (0.2, 5, -0.3, 2, 0.1, 4))
    assert channels(dk.prune(net, 0.1, min_channels=1).network) == [3, 6, 4]  # the first of two of 0.1
    assert channels(dk.prune(net, 0.29, min_channels=1).network) == [3, 5, 4]
    assert channels(dk.prune(net, 0.3, min_channels=1).network) == [3, 4, 4]
    pruned = dk.prune(net, 0.5, min_channels=1)
    assert channels(pruned.network) == [2, 3, 4]
    assert pruned.selection.threshold == pytest.approx(0.4)
    assert part(pruned.network, 0).norm.scales.tolist() == [1, 3]
    assert torch.equal(part(pruned.network, 0).weights, part(net, 0).weights[[0, 2]])
    assert torch.equal(part(pruned.network, 1).weights, part(net, 1).weights[[1, 3, 5]][:, [0, 2]])
    assert channels(net) == [4, 6, 4]


def test_every_layer_keeps_min_channels() -> None:
    net = network((0.1, 0.2, 0.3), (4, 5, 6, 7, 8, 9))
    assert channels(dk.prune(net, 0.8, min_channels=2).network) == [2, 2, 4]
    assert channels(dk.prune(net, 0.3, min_channels=3).network) == [3, 6, 4]


def test_tied_channels_rank_by_the_largest_scale() -> None:
    last = "[shortcut]\nfrom=-2\n" + LAST
    net = network((0.1, 0.2, 0.3), (9, 0.4, 0.01), last=last)
    pruned = dk.prune(net, 0.67, min_channels=1)
    assert part(pruned.network, 0).norm.scales.tolist() == pytest.approx([0.1])
    assert part(pruned.network, 1).norm.scales.tolist() == [9]


def test_l1_ranks_by_the_weights_whatever_the_kernel() -> None:
    net = random_networks.network(NET + CONV.format(4, 3).replace("batch_normalize=1", "") + LAST)
    for row, size in enumerate((0.5, 0.1, -0.2, 0.3)):
        part(net, 0).weights.data[row] = size
    pruned = dk.prune(net, 0.5, min_channels=1, score="l1")
    assert torch.equal(part(pruned.network, 0).weights, part(net, 0).weights[[0, 3]])
    assert pruned.selection.scores.tolist() == pytest.approx(
        [0.5 * 27**0.5, 0.1 * 27**0.5, 0.2 * 27**0.5, 0.3 * 27**0.5]
    )


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(LAST, id="biases"),
        pytest.param(CONV.format(4, 3), id="batch norm, 3x3 without padding"),
        pytest.param("[connected]\noutput=4\n", id="connected"),
        pytest.param("[local]\nfilters=2\nsize=3\npad=1\n", id="local with padding"),
        pytest.param("[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1,-1\n" + LAST, id="pooling and route"),
        pytest.param("[shortcut]\nfrom=-2\nactivation=leaky\n" + LAST, id="shortcut"),
        pytest.param("[reorg]\nstride=2\n" + LAST, id="reorg"),
        pytest.param("[depthwise]\nfilters=8\nbatch_normalize=1\n" + LAST, id="depthwise"),
    ],
)
def test_the_constants_of_removed_channels_are_carried_on(last: str) -> None:
    net = network((2, 3, 4, 5, 0, 0, 0, 0), (6, 7, 8, 9, 0, 0, 0, 0), last=last)  # their biases are not 0
    if "depthwise" in last:
        part(net, 2).convolution.norm.scales.data[4:] = 0
    pruned = dk.prune(net, 0.5, min_channels=1)
    assert channels(pruned.network)[:2] == [4, 4]
    assert pruned_networks.difference(net, pruned.network) < 1e-5
    for name, tensor in net.named_parameters():
        if name.endswith("biases"):
            tensor.data.mul_(-3)
    assert pruned_networks.difference(net, pruned.network) > 1e-2  # so the biases mattered


def test_with_padding_the_constants_are_exact_but_for_the_border() -> None:
    net = network((2, 3, 0, 0), last=CONV.format(4, 3) + "pad=1\n")
    pruned = dk.prune(net, 0.5, min_channels=1)
    x = torch.rand(1, 3, 12, 12)
    difference = (net.predict(x)[0] - pruned.network.predict(x)[0]).abs()[0].amax(dim=0)
    assert difference[1:-1, 1:-1].max() < 1e-6
    assert difference.max() > 1e-3


def test_the_cfg_keeps_everything_but_the_numbers_of_channels(tmp_path: pathlib.Path) -> None:
    net = loading.load(paths.CFGS / "digits.cfg", paths.CFGS / "digits.weights")
    pruned = dk.prune(net, 0.5)
    cfg, _ = pruned.save(tmp_path)
    assert cfg.name == "digits-pruned.cfg"
    before = (paths.CFGS / "digits.cfg").read_text().splitlines()
    after = cfg.read_text().splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) > 10
    assert all(line.startswith("filters=") for pair in changed for line in pair)
    assert (pruned.network.seen, pruned.network.version) == (net.seen, net.version)


@pytest.mark.parametrize("ratio", [0.3, 0.7])
@pytest.mark.parametrize("name", ["digits", "yolov3-tiny", "yolov4-tiny"])
def test_shipped_networks(name: str, ratio: float, tmp_path: pathlib.Path) -> None:
    net = random_networks.randomise(Network(dk.cfg.load(paths.CFGS / f"{name}.cfg"), size=(64, 64)))
    silent = pruned_networks.silence(dk.prune(net, ratio), net)
    pruned = dk.prune(silent, ratio)
    assert pruned_networks.difference(silent, pruned.network) < 1e-5
    assert pruned_networks.difference(pruned.network, pruned_networks.through_files(pruned, tmp_path)) == 0


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("ratio: expected 0 or more and below 1, got 1", {"ratio": 1}),
        ("min_channels: expected 1 or more, got 0", {"ratio": 0.1, "min_channels": 0}),
        ("layers: expected 0 or more, got -1", {"layers": -1}),
        ("score: expected one of bn, l1, got 'l2'", {"ratio": 0.1, "score": "l2"}),
        ("nothing to remove: expected a ratio above 0, or a number of layers", {}),
        ("made.cfg: expected 1 residual units to remove, found 0", {"layers": 1}),
    ],
)
def test_arguments_out_of_range_are_refused(message: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        dk.prune(network((1, 2)), **arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_networks_without_scales_or_channels_to_remove_are_refused() -> None:
    plain = random_networks.network(NET + LAST + LAST)
    with pytest.raises(ConfigError, match=r"no batch norm, whose scales would rank .* score l1 ranks them"):
        dk.prune(plain, 0.5)
    assert channels(dk.prune(plain, 0.5, score="l1", min_channels=1).network) == [2, 4]
    with pytest.raises(ConfigError, match="no channel can be removed: all are tied to others that must stay"):
        dk.prune(network((1, 2), last=""), 0.5)


COMPARE = """
import json, sys
from darknet_py.compare.report import compare_models
ours, theirs, dialect, *images = sys.argv[1:]
for image in images:
    report = compare_models(ours, theirs, image=image, dialect=dialect, threshold=5e-4, nms=0, tolerance=1e-2)
    print(json.dumps(report.to_dict()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "score"), [(0.05, 0.88), (0.25, 0.002), (0.5, 0.002)])
@pytest.mark.parametrize(("reader", "dialect"), [("opencv", "alexeyab"), ("darknet", "pjreddie")])
def test_other_programs_read_the_pair_and_find_the_same_boxes(
    reader: str,
    dialect: str,
    ratio: float,
    score: float,
    yolov3_tiny_weights: pathlib.Path,
    shared: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    """All boxes above 0.0005, before NMS: without fine-tuning the best ``score`` is as low as this."""
    folder = opencv_versions.find_folder(4) if reader == "opencv" else ""
    if reader == "darknet" and not LIBRARY.exists():
        pytest.skip(f"{LIBRARY}: Debian's package darknet is not installed")
    net = loading.load(paths.CFGS / "yolov3-tiny.cfg", yolov3_tiny_weights)
    cfg, weights = dk.prune(net, ratio).save(tmp_path)
    cfg.write_text(cfg.read_text().replace("[yolo]", "[yolo]\nthresh=.0005"))  # OpenCV's; 0.2 by default
    pair = f"{cfg},{weights}"
    theirs = f"opencv:{pair}" if reader == "opencv" else f"darknet:{LIBRARY}:{pair}"
    images = [str(shared / "data" / "photographs" / name) for name in ("dog.jpg", "person.jpg")]
    for line in opencv_versions.run(folder, COMPARE, pair, theirs, dialect, *images).splitlines():
        report = json.loads(line)
        boxes = report["boxes"]
        assert report["same"]
        assert boxes["a"] >= 4
        assert boxes["a"] + boxes["b"] - 2 * boxes["matched"] <= 0.01 * boxes["a"]
        assert boxes["max_pixels"] < 0.05
        assert boxes["max_confidence"] < 1e-3 * score
