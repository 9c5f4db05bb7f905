"""Official cfgs pruned at 30 and 70 %: the outputs are those of the network whose removed channels are silent."""

from __future__ import annotations

import pathlib

import pytest

import darknet_py as dk
from darknet_py import cfg
from darknet_py.errors import ConfigError
from darknet_py.network import Network
from tests.helpers import paths, pruned_networks, random_networks

WITHOUT_BATCH_NORM = {
    *("alexnet", "extraction.conv", "jnet-conv", "strided", "t1.test", "vgg-16", "vgg-conv", "writing"),
    "yolov1__yolo-small",
}
RECURRENT = {"crnn.train", "gru", "lstm.train", "rnn", "rnn.train"}
SIDES = (64, 128, 192)  # of the input, the smallest that the network accepts; otherwise its own

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::darknet_py.UnusedOptionWarning")]


def load(path: pathlib.Path) -> Network:
    """The network with random weights."""
    if not path.is_file():
        pytest.skip(paths.NO_SHARED)
    paths.require_files_of(path)
    config = cfg.load(path)
    for size in (*((side, side) for side in SIDES), None):
        try:
            return random_networks.randomise(Network(config, size=size))
        except ConfigError:
            if size is None:
                raise
    raise AssertionError


@pytest.mark.parametrize(
    "path", [*sorted(paths.CFGS.glob("*.cfg")), *paths.official_cfgs()], ids=lambda path: path.stem
)
def test_pruned_at_30_and_70_percent(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    net = load(path)
    if path.stem in WITHOUT_BATCH_NORM:
        with pytest.raises(ConfigError, match="no batch norm, whose scales would rank the channels"):
            dk.prune(net, 0.3)
        return
    if path.stem in RECURRENT:
        with pytest.raises(ConfigError, match="no channel can be removed"):
            dk.prune(net, 0.3)
        return
    for ratio in (0.3, 0.7):
        silent = pruned_networks.silence(dk.prune(net, ratio), net)
        pruned = dk.prune(silent, ratio)
        assert pruned.network.flops < net.flops
        assert pruned_networks.difference(silent, pruned.network) < 1e-5
        assert pruned_networks.difference(pruned.network, pruned_networks.through_files(pruned, tmp_path)) == 0
