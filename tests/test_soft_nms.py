"""Soft-NMS against a loop by the paper's formula, weighted boxes fusion against values of ensemble-boxes 1.0.9."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

import darknet_py as dk
from darknet_py.boxes import NMSKind, NMSOptions, RawDetections, batched_nms, iou, xywh_to_xyxy, xyxy_to_xywh
from darknet_py.commands._options import SHARED
from darknet_py.compare.libdarknet import run_library
from darknet_py.compare.report import compare_models
from darknet_py.detector import Detector
from darknet_py.errors import DarknetError, DataError
from darknet_py.evaluation.evaluator import evaluate
from tests.helpers import noise_dataset, random_networks

SOFT = ["soft-linear", "soft-gaussian"]

# x1, y1, x2, y2, score, class
ROWS = [
    (0.544, 0.5, 0.728, 0.76, 0.297, 0),
    (0.408, 0.227, 0.623, 0.485, 0.67, 1),
    (0.177, 0.28, 0.389, 0.499, 0.195, 0),
    (0.521, 0.538, 0.746, 0.74, 0.716, 1),
    (0.389, 0.25, 0.623, 0.5, 0.665, 0),
    (0.103, 0.343, 0.353, 0.525, 0.435, 1),
    (0.504, 0.547, 0.724, 0.762, 0.811, 0),
    (0.354, 0.278, 0.598, 0.484, 0.273, 1),
    (0.176, 0.286, 0.392, 0.53, 0.448, 0),
    (0.471, 0.552, 0.715, 0.772, 0.81, 1),
    (0.418, 0.206, 0.6, 0.461, 0.439, 0),
    (0.201, 0.278, 0.411, 0.534, 0.735, 1),
    (0.53, 0.529, 0.755, 0.728, 0.645, 0),
    (0.463, 0.304, 0.698, 0.521, 0.937, 1),
]
# weighted_boxes_fusion([boxes], [scores], [labels], iou_thr=0.45) of them
FUSED = [
    (0.463, 0.304, 0.698, 0.521, 0.937, 1),
    (0.49446, 0.545431, 0.729545, 0.756986, 0.763, 1),
    (0.201, 0.278, 0.411, 0.534, 0.735, 1),
    (0.520343, 0.532414, 0.736084, 0.749151, 0.584333, 0),
    (0.400532, 0.232504, 0.613854, 0.484492, 0.552, 0),
    (0.392367, 0.241765, 0.615762, 0.484711, 0.4715, 1),
    (0.103, 0.343, 0.353, 0.525, 0.435, 1),
    (0.176303, 0.28418, 0.39109, 0.520599, 0.3215, 0),
]


def detections(rows: Sequence[tuple[float, ...]]) -> RawDetections:
    table = torch.tensor(rows)
    probs = torch.zeros(len(table), 3).scatter(1, table[:, 5:].long(), table[:, 4:5])
    return RawDetections(xyxy_to_xywh(table[:, :4]), table[:, 4], probs)


def random_detections(count: int, classes: int) -> RawDetections:
    """Boxes in clusters, some of them of several classes."""
    centres = random_networks.random(8, 2, seed=1, low=0.2, high=0.8)[torch.arange(count) % 8]
    boxes = torch.cat((centres, torch.full((count, 2), 0.3)), dim=1)
    boxes += random_networks.random(count, 4, seed=2, low=-0.08, high=0.08)
    probs = random_networks.random(count, classes, seed=3, low=-1, high=1).clamp(min=0)
    return RawDetections(boxes, probs.amax(dim=1), probs)


def by_the_paper(boxes: Tensor, scores: list[float], kind: str, threshold: float, sigma: float) -> list[float]:
    """Figure 2 of the paper: the final scores, without its threshold on them."""
    left, final = list(range(len(scores))), list(scores)
    while left:
        best = max(left, key=lambda number: final[number])
        left.remove(best)
        for other in left:
            overlap = float(iou(boxes[best], boxes[other]))
            if kind == "soft-gaussian":
                final[other] *= math.exp(-(overlap**2) / sigma)
            elif overlap > threshold:
                final[other] *= 1 - overlap
    return final


@pytest.mark.parametrize("sigma", [0.3, 0.5])
@pytest.mark.parametrize("kind", SOFT)
def test_soft_nms_lowers_scores_as_the_paper_says(kind: str, sigma: float) -> None:
    given = random_detections(60, 4)
    result = batched_nms(given, 0.4, NMSOptions(NMSKind(kind), sigma=sigma))
    assert torch.equal(result.boxes, given.boxes)
    for cls in range(4):
        rows = given.probs[:, cls].nonzero()[:, 0]
        expected = by_the_paper(given.boxes[rows], given.probs[rows, cls].tolist(), kind, 0.4, sigma)
        torch.testing.assert_close(result.probs[rows, cls], torch.tensor(expected))
    assert ((result.probs < given.probs) & (result.probs > 0)).sum() > 50
    limited = batched_nms(given, 0.4, NMSOptions(NMSKind(kind), sigma=sigma), min_score=0.2)
    assert torch.equal(limited.probs, torch.where(result.probs > 0.2, result.probs, 0))


def test_weighted_boxes_fusion_gives_the_values_of_ensemble_boxes() -> None:
    result = batched_nms(detections(ROWS), 0.45, NMSOptions(NMSKind.WBF))
    score, cls = result.probs.max(dim=1)
    table = torch.cat((xywh_to_xyxy(result.boxes), score[:, None], cls[:, None]), dim=1)
    torch.testing.assert_close(table, torch.tensor(FUSED), atol=1e-5, rtol=0)
    assert (result.probs > 0).sum() == len(FUSED)


@pytest.mark.parametrize("kind", [*SOFT, "wbf"])
def test_classes_do_not_influence_each_other_unless_asked_for(kind: str) -> None:
    options = NMSOptions(NMSKind(kind))
    together = batched_nms(detections(ROWS), 0.45, options).probs
    for cls in (0, 1):
        alone = batched_nms(detections([row for row in ROWS if row[5] == cls]), 0.45, options).probs[:, cls]
        assert torch.equal(alone[alone > 0], together[:, cls][together[:, cls] > 0])
    agnostic = batched_nms(detections(ROWS), 0.45, options, agnostic=True).probs
    one_class = batched_nms(detections([(*row[:5], 0) for row in ROWS]), 0.45, options).probs[:, 0]
    assert torch.equal(agnostic.amax(dim=1), one_class)
    assert {*agnostic.argmax(dim=1)[agnostic.amax(dim=1) > 0].tolist()} == {0, 1}


@pytest.mark.parametrize("kind", [*SOFT, "wbf"])
def test_no_boxes_and_one_box(kind: str) -> None:
    options = NMSOptions(NMSKind(kind))
    one = detections(ROWS[:1])
    none = RawDetections(*(column[:0] for column in one))
    assert [column.shape for column in batched_nms(none, 0.5, options)] == [(0, 4), (0,), (0, 3)]
    for before, after in zip(one, batched_nms(one, 0.5, options), strict=True):
        torch.testing.assert_close(before, after)


def test_detector_takes_the_kind_of_the_cfg_or_another(tmp_path: pathlib.Path) -> None:
    net = noise_dataset.detector(tmp_path)
    text = net.config.text.replace("nms_kind=greedynms", "nms_kind=soft-gaussian\nsigma_nms=0.4")
    soft = dk.Network(dk.cfg.loads(text))
    soft.load_state_dict(net.state_dict())
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    of_cfg = Detector(soft, threshold=0.3).batch(x)
    given = Detector(net, threshold=0.3, nms_kind="soft-gaussian").batch(x)
    greedy = Detector(net, threshold=0.3).batch(x)
    fused = Detector(net, threshold=0.3, nms_kind="wbf").batch(x)
    assert 0 < len(given[0]) < len(Detector(net, threshold=0.3, nms=0).batch(x)[0])
    assert not torch.equal(given[0].boxes.conf, greedy[0].boxes.conf)
    assert all(float(result.boxes.conf.min()) > 0.3 for result in (*given, *of_cfg))
    assert not torch.equal(of_cfg[0].boxes.conf, given[0].boxes.conf)  # sigma
    assert len(fused[0]) > 0
    with pytest.raises(DataError, match=r"nms_kind: expected one of default, .*, wbf, got 'soft'"):
        Detector(net, nms_kind="soft")


@pytest.mark.parametrize("letterbox", [False, True])
def test_fused_boxes_are_relative_to_the_image(letterbox: bool, tmp_path: pathlib.Path) -> None:
    net = noise_dataset.detector(tmp_path)
    folder = noise_dataset.images(tmp_path)
    image = folder / "0.png"
    plain = Detector(net, threshold=0.3, nms=0, letterbox=letterbox)(image).boxes
    fused = Detector(net, threshold=0.3, nms_kind="wbf", letterbox=letterbox)(image).boxes
    assert 0 < len(fused) < len(plain)
    assert float(fused.xywhn.min()) >= float(plain.xywhn.min()) - 1e-6
    assert float(fused.xywhn.max()) <= float(plain.xywhn.max()) + 1e-6
    assert 0 <= evaluate(net, folder / "my.data", nms_kind="wbf", protocol="coco", progress=False).map <= 1


def test_compare_with_a_kind_and_what_has_none(tmp_path: pathlib.Path) -> None:
    dk.save_weights(net := noise_dataset.detector(tmp_path), tmp_path / "tiny.weights")
    pair = f"{tmp_path / 'tiny.cfg'},{tmp_path / 'tiny.weights'}"
    report = compare_models(pair, pair, nms_kind="wbf")
    assert report.boxes is not None
    assert report.boxes.is_same
    assert report.boxes.a > 0
    with pytest.raises(DarknetError, match="nms_kind=soft-linear: C Darknet has no such NMS"):
        run_library(__file__, net, tmp_path / "tiny.weights", torch.rand(1, 3, 64, 64), 0.25, 0.45, "soft-linear")


def test_the_command_line_has_all_kinds() -> None:
    assert tuple(SHARED["--nms-kind"]["choices"]) == tuple(NMSKind)
