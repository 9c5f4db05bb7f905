"""Anchors compared with C's k-means, and cfgs rewritten with other anchors."""

from __future__ import annotations

import difflib
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from darknet_py import cfg, cli
from darknet_py.data import anchors
from darknet_py.data.anchor_cfg import AnchorCfg
from darknet_py.data.dataset import Dataset, Sample
from darknet_py.data.formats import load_dataset
from darknet_py.data.labels import empty_targets
from darknet_py.errors import ConfigError, DataError
from darknet_py.network import Network
from tests.helpers.data_files import write_image, write_text

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = np.load(ROOT / "tests" / "golden" / "augmentation.npz")
SIZES = GOLDEN["sizes"].astype(np.float64)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_kmeans_equals_c(count: int) -> None:
    centres = anchors.run_kmeans(SIZES, SIZES[GOLDEN[f"starts_{count}"]])
    assert np.abs(centres - GOLDEN[f"centres_{count}"]).max() < 1e-3


def test_iou_of_sizes_with_a_common_centre() -> None:
    computed = anchors.size_iou(np.array([(2.0, 2), (4, 1)]), np.array([(2.0, 2), (1, 1), (8, 2)]))
    assert computed.tolist() == [[1, 0.25, 0.25], [2 / 6, 0.25, 0.25]]
    assert anchors.mean_best_iou(np.array([(2.0, 2), (4, 1)]), np.array([(2.0, 2)])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_the_search_is_better_than_kmeans_and_deterministic(count: int) -> None:
    plain = [
        anchors.mean_best_iou(SIZES, anchors.cluster_anchors(SIZES, count, np.random.default_rng(seed)))
        for seed in range(5)
    ]
    computed = anchors.search_anchors(SIZES, count, rng(), mutations=300)
    assert anchors.mean_best_iou(SIZES, computed) > max(plain)
    assert np.array_equal(computed, anchors.search_anchors(SIZES, count, rng(), mutations=300))
    assert (np.diff(computed.prod(axis=1)) >= 0).all()


def test_the_search_finds_the_sizes_of_clusters() -> None:
    expected = np.array([(10.0, 20), (30, 30), (100, 50), (200, 300)])
    boxes = np.repeat(expected, 25, axis=0)
    assert anchors.search_anchors(boxes, 4, rng()) == pytest.approx(expected)
    assert anchors.mean_best_iou(boxes, anchors.search_anchors(boxes, 5, rng(), mutations=10)) == pytest.approx(1)


@pytest.mark.parametrize("count", [0, 151])
def test_more_anchors_than_objects_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"{count} anchors: expected 1 to 150"):
        anchors.search_anchors(SIZES, count, rng())


def dataset(scale: float = 416) -> Dataset:
    rows = np.concatenate((np.full((150, 2), 0.5), SIZES / scale, np.arange(150)[:, None] % 3), axis=1)
    samples = [Sample(f"{n}.jpg", rows[n::10].astype(np.float32), empty_targets()) for n in range(10)]
    return Dataset(samples, ("a", "b", "c", "d"), (), "set.txt")


def test_calc_anchors_writes_darknets_files(tmp_path: pathlib.Path) -> None:
    lines = list(anchors.calc_anchors(dataset(), 5, 416, 416, classes=4, folder=tmp_path, seed=1))
    written = (tmp_path / "anchors.txt").read_text()
    assert f"anchors = {written}" in lines
    pairs = [tuple(map(float, pair)) for pair in re.findall(r"(.{3,}?),(.{3,}?)(?:, |$)", written)]
    assert len(pairs) == 5
    assert (tmp_path / "counters_per_class.txt").read_text() == "counters_per_class = 50, 50, 50, 0"
    boxes = anchors.collect_sizes(dataset(), 416, 416)
    expected = anchors.cluster_anchors(boxes, 5, np.random.default_rng(1))
    assert np.abs(np.array(pairs) - expected).max() <= 0.51
    assert f" avg IoU = {100 * anchors.mean_best_iou(boxes, expected):2.2f} % " in lines
    list(anchors.calc_anchors(dataset(), 2, 13, 13, folder=tmp_path, seed=1))
    assert len((tmp_path / "anchors.txt").read_text().partition(".")[2].partition(",")[0]) == 4
    with pytest.raises(DataError, match="-width and -height"):
        list(anchors.calc_anchors(dataset(), 5, 0, 416, folder=tmp_path))


def test_a_data_set_without_objects_is_refused() -> None:
    with pytest.raises(DataError, match=r"set\.txt: expected objects to compute anchors from"):
        anchors.collect_sizes(Dataset([Sample("a.jpg", empty_targets(), empty_targets())], source="set.txt"), 416, 416)


def network(name: str) -> Network:
    return Network(cfg.load(ROOT / "cfgs" / name))


def changed_keys(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[2:].partition("=")[0].strip() for line in lines if line.startswith("+ ")]


@pytest.mark.parametrize(
    ("name", "coarse_first"), [("yolov3.cfg", True), ("yolov3-tiny.cfg", True), ("yolov4.cfg", False)]
)
def test_anchors_are_assigned_to_heads_by_size(name: str, coarse_first: bool) -> None:
    old = network(name)
    heads, count = len(old.heads), len(AnchorCfg(old).anchors)
    computed = anchors.search_anchors(SIZES, count + heads, rng(), restarts=1, mutations=1)
    text = AnchorCfg(old).rewrite(computed)
    new = Network(cfg.loads(text))
    masks = AnchorCfg(new).masks
    assert sorted(n for mask in masks for n in mask) == list(range(count + heads))
    assert masks == sorted(masks, reverse=coarse_first)
    assert AnchorCfg(new).anchors == pytest.approx(computed.round())
    assert [head.shape.width for head in new.heads] == [head.shape.width for head in old.heads]
    assert sorted(changed_keys(old.config.text, text)) == sorted(["anchors", "num", "mask", "filters"] * heads)


def test_the_same_number_of_anchors_changes_one_line_per_head() -> None:
    old = network("yolov4.cfg")
    computed = anchors.cluster_anchors(SIZES, 9, rng())
    text = AnchorCfg(old).rewrite(computed)
    assert changed_keys(old.config.text, text) == ["anchors"] * 3
    assert AnchorCfg(Network(cfg.loads(text))).masks == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_masks_that_do_not_use_every_anchor_are_divided_again() -> None:
    tiny = AnchorCfg(network("yolov4-tiny.cfg"))
    assert (len(tiny.anchors), len(tiny.used)) == (6, 5)
    assert tiny.masks_for(6) == [[3, 4, 5], [0, 1, 2]]


def test_yolov2_anchors_are_in_cells() -> None:
    old = AnchorCfg(network("yolov2.cfg"))
    assert old.anchors[0] == pytest.approx((0.57273 * 32, 0.677385 * 32))
    computed = anchors.cluster_anchors(SIZES, 6, rng())
    new = AnchorCfg(Network(cfg.loads(old.rewrite(computed))))
    assert new.anchors == pytest.approx(computed, abs=0.01)
    assert sorted(changed_keys(old._network.config.text, old.rewrite(computed))) == ["anchors", "filters", "num"]


def test_fewer_anchors_than_heads_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 anchors for 3 heads"):
        AnchorCfg(network("yolov4.cfg")).masks_for(2)
    with pytest.raises(ConfigError, match="no head with anchors"):
        AnchorCfg(Network(cfg.loads("[net]\nwidth=8\nheight=8\nchannels=1\n[maxpool]\n")))


def test_the_command_writes_a_cfg_with_better_anchors(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sample in dataset():
        rows = [f"{int(k)} {x} {y} {w} {h}\n" for x, y, w, h, k in sample.targets.clip(None, (1, 1, 1, 1, 9))]
        (tmp_path / sample.image).with_suffix(".txt").write_text("".join(rows))
    (tmp_path / "train.list").write_text("".join(f"{tmp_path / s.image}\n" for s in dataset()))
    (tmp_path / "set.data").write_text(f"train={tmp_path / 'train.list'}\nclasses=3\n")
    out = tmp_path / "new.cfg"
    arguments: list[Any] = ["anchors", tmp_path / "set.data", ROOT / "cfgs" / "yolov4-tiny.cfg", "--output", out]
    assert cli.main([str(word) for word in arguments]) == 0
    printed = capsys.readouterr().out
    assert "150 objects in 10 images, for an input of 416 x 416" in printed
    assert "counters_per_class = 50, 50, 50" in printed
    before, after = (float(line.split()[2].rstrip("%")) for line in printed.splitlines() if line.startswith("avg IoU"))
    assert after > before + 5
    assert len(Network(cfg.load(out)).heads) == 2
    again = [str(word) for word in (arguments[0], arguments[1], out)]
    assert cli.main(again) == 0
    assert "hardly worth it" in capsys.readouterr().err


def test_labels_that_are_reported_are_not_used(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "a.png")
    write_text(tmp_path / "a.txt", "0 .5 .5 .25 .5\n0 48 48 20 20\n0 .5 .5 1.5 .5\n0 -.1 .5 .5 .5\n")
    dataset = load_dataset(tmp_path)
    assert len(dataset.problems) == 3
    assert anchors.collect_sizes(dataset, 100, 100).tolist() == [[25, 50]]
