"""``Results`` against C Darknet's own text, labels and JSON of the same boxes."""

import json
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py.boxes import RawDetections
from darknet_py.errors import DataError
from darknet_py.results.results import Results, from_raw

# yolov3-tiny on the photograph of horses (773 x 512) at threshold 0.05, as C Darknet reported it.
SHAPE = (512, 773)
NAMES = {17: "horse", 18: "sheep", 19: "cow"}
ROWS = [  # box, class, confidence, x, y, w, h
    (13, 17, 0.694491, 0.674017, 0.552744, 0.099532, 0.181077),
    (4, 17, 0.710065, 0.204795, 0.578350, 0.391056, 0.410544),
    (8, 17, 0.670452, 0.669778, 0.554385, 0.199439, 0.298374),
    (16, 17, 0.543686, 0.096188, 0.441532, 0.083141, 0.104770),
    (13, 19, 0.508197, 0.674017, 0.552744, 0.099532, 0.181077),
    (8, 19, 0.387276, 0.669778, 0.554385, 0.199439, 0.298374),
    (2, 17, 0.315296, 0.430501, 0.521451, 0.254405, 0.402921),
    (1, 17, 0.313716, 0.094288, 0.478034, 0.234591, 0.206087),
    (4, 18, 0.223717, 0.204795, 0.578350, 0.391056, 0.410544),
    (12, 17, 0.081926, 0.146255, 0.417267, 0.066191, 0.057669),
]
LINES = """\
horse: 31%	(left_x:  -18   top_y:  192   width:  181   height:  106)
horse: 71%	(left_x:    7   top_y:  191   width:  302   height:  210)
sheep: 22%	(left_x:    7   top_y:  191   width:  302   height:  210)
horse: 54%	(left_x:   42   top_y:  199   width:   64   height:   54)
horse: 8%	(left_x:   87   top_y:  199   width:   51   height:   30)
horse: 32%	(left_x:  234   top_y:  164   width:  197   height:  206)
horse: 67%	(left_x:  441   top_y:  207   width:  154   height:  153)
cow: 39%	(left_x:  441   top_y:  207   width:  154   height:  153)
horse: 69%	(left_x:  483   top_y:  237   width:   77   height:   93)
cow: 51%	(left_x:  483   top_y:  237   width:   77   height:   93)"""
LABELS = """\
17 0.0943 0.4780 0.2346 0.2061
17 0.0962 0.4415 0.0831 0.1048
17 0.1463 0.4173 0.0662 0.0577
17 0.2048 0.5783 0.3911 0.4105
17 0.4305 0.5215 0.2544 0.4029
17 0.6698 0.5544 0.1994 0.2984
17 0.6740 0.5527 0.0995 0.1811"""


@pytest.fixture
def horses() -> Results:
    table = torch.tensor(ROWS, dtype=torch.float64)
    return Results(
        table[:, 3:].float(), table[:, 2].float(), table[:, 1].long(), table[:, 0].long(), shape=SHAPE, names=NAMES,
        path="horses.png", image=np.zeros((*SHAPE, 3), np.uint8), speed={"inference": 3.5},
    )  # fmt: skip


@pytest.fixture
def no_detections() -> Results:
    none = torch.zeros(0)
    return Results(none.view(0, 4), none, none.long(), shape=(20, 30), image=np.zeros((20, 30, 3), np.uint8))


def test_the_text_equals_darknets(horses: Results) -> None:
    assert horses.to_text(coordinates=True) == LINES
    assert str(horses) == "\n".join(line.partition("\t")[0] for line in LINES.splitlines())


def test_label_files_equal_darknets(horses: Results) -> None:
    # The lines have four digits of numbers that have six here: one may be rounded the other way.
    lines = sorted(horses.to_txt().splitlines())
    assert len(lines) == 7
    for line, expected in zip(lines, LABELS.splitlines(), strict=True):
        assert line.split()[0] == expected.split()[0]
        assert [float(v) for v in line.split()[1:]] == pytest.approx(
            [float(v) for v in expected.split()[1:]], abs=1.01e-4
        )
    assert horses.to_txt(confidence=True).startswith("17 0.2048 0.5784 0.3911 0.4105 0.7101\n")


def test_the_json_of_a_frame_equals_darknets(horses: Results) -> None:
    frame = horses.to_darknet_json(3)
    assert list(frame) == ["frame_id", "filename", "objects"]
    assert (frame["frame_id"], frame["filename"]) == (3, "horses.png")
    assert frame["objects"][4] == {
        "class_id": 19,
        "name": "cow",
        "relative_coordinates": {"center_x": 0.674017, "center_y": 0.552744, "width": 0.099532, "height": 0.181077},
        "confidence": 0.508197,
    }
    assert len(frame["objects"]) == len(ROWS)
    json.dumps(frame)


def test_the_json_of_a_frame_omits_confidences_that_darknet_omits(no_detections: Results) -> None:
    assert no_detections.to_darknet_json() == {"frame_id": 1, "objects": []}
    weak = Results(torch.rand(2, 4), torch.tensor([0.004, 0.006]), torch.tensor([0, 1]), shape=(9, 9))
    assert [row["class_id"] for row in weak.to_darknet_json()["objects"]] == [1]


def test_rows_are_sorted_by_confidence_and_have_four_box_formats(horses: Results) -> None:
    boxes = horses.boxes
    assert boxes.conf.tolist() == sorted(boxes.conf.tolist(), reverse=True)
    assert boxes.box.tolist()[:5] == [4, 13, 8, 16, 13]
    assert boxes.cls.dtype == torch.int64
    size = torch.tensor([773.0, 512.0, 773.0, 512.0])
    assert torch.equal(boxes.xywh, boxes.xywhn * size)
    assert torch.equal(boxes.xyxy, boxes.xyxyn * size)
    assert torch.allclose(boxes.xyxy[:, 2:] - boxes.xyxy[:, :2], boxes.xywh[:, 2:], atol=1e-3)
    assert torch.equal(boxes.data[:, :4], boxes.xyxy)
    assert torch.equal(boxes.data[:, 4], boxes.conf)
    assert boxes.data[:, 5].tolist() == boxes.cls.tolist()
    assert boxes.xyxy.min() < 0, "coordinates are not clipped to the image"


def test_rows_can_be_indexed(horses: Results) -> None:
    assert len(horses) == len(horses.boxes) == len(list(horses)) == len(list(horses.boxes)) == 10
    assert horses[-1].boxes.conf.tolist() == pytest.approx([0.081926])
    assert horses[2:4].boxes.box.tolist() == [8, 16]
    assert set(horses[horses.boxes.cls == 19].boxes.cls.tolist()) == {19}
    assert horses.boxes[[0, 3]].conf.shape == (2,)
    assert horses[0].path == "horses.png"
    with pytest.raises(IndexError, match="row 10 is out of range for 10 rows"):
        horses[10]


def test_results_can_be_moved_and_converted(horses: Results) -> None:
    arrays = horses.numpy()
    assert isinstance(arrays.boxes.xyxy, np.ndarray)
    assert arrays.to_text(coordinates=True) == LINES
    assert len(arrays[1:3]) == 2
    assert horses.to(torch.float64).boxes.xyxy.dtype == torch.float64
    assert torch.equal(horses.cpu().boxes.data, horses.boxes.data)
    assert horses.to("meta").boxes.conf.is_meta


def test_json_is_a_list_of_rows(horses: Results) -> None:
    rows = json.loads(horses.to_json())
    assert rows == horses.summary()
    assert rows[0]["name"] == "horse"
    assert rows[0]["class"] == 17
    assert rows[0]["confidence"] == pytest.approx(0.71006, abs=1e-5)
    assert list(rows[0]["box"].values()) == pytest.approx(horses.boxes.xyxy[0].tolist(), abs=1e-4)
    assert list(rows[0]["box"]) == ["x1", "y1", "x2", "y2"]


def test_an_empty_result_has_all_formats(no_detections: Results, tmp_path: pathlib.Path) -> None:
    assert (
        str(no_detections),
        no_detections.to_txt(),
        no_detections.summary(),
        json.loads(no_detections.to_json()),
    ) == ("", "", [], [])
    assert no_detections.boxes.data.shape == (0, 6)
    assert no_detections.plot().size == (30, 20)
    no_detections.save(tmp_path / "none.png")
    assert list(no_detections) == []
    assert no_detections.names == {}
    assert repr(no_detections) == "Results('image', 30x20, 0 rows)"


def test_raw_detections_become_rows() -> None:
    probs = torch.tensor([[0.0, 0.6, 0.0, 0.9], [0.0, 0.0, 0.0, 0.0], [0.3, 0.0, 0.8, 0.0]])
    boxes = torch.rand(3, 4)
    result = from_raw(RawDetections(boxes, torch.ones(3), probs), (10, 20), names=["a", "b", "dont_show", "d"])
    assert result.boxes.cls.tolist() == [3, 1, 0]
    assert result.boxes.box.tolist() == [0, 0, 2]
    assert torch.equal(result.boxes.xywhn, boxes[[0, 0, 2]])
    assert result.names[3] == "d"
    unnamed = from_raw(RawDetections(boxes, torch.ones(3), probs), (10, 20), path=pathlib.Path("a.jpg"))
    assert unnamed.names == {0: "0", 1: "1", 2: "2", 3: "3"}
    assert unnamed.boxes.cls.tolist() == [3, 2, 1, 0]
    assert unnamed.path == "a.jpg"


def test_a_class_without_a_name_is_named_by_its_number() -> None:
    result = Results(torch.rand(2, 4), torch.tensor([0.5, 0.4]), torch.tensor([5, 0]), shape=(9, 9), names=["x"])
    assert result.names == {0: "x", 5: "5"}


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "bmp", "webp", "gif"])
def test_save_writes_the_format_of_the_suffix(horses: Results, tmp_path: pathlib.Path, suffix: str) -> None:
    target = tmp_path / f"out.{suffix}"
    horses.save(target, line_width=3)
    with Image.open(target) as written:
        assert written.size == (773, 512)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_the_error_of_save_names_file_and_reason(horses: Results, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="suffix such as"):
        horses.save(tmp_path / "out.xyz")
    with pytest.raises(DataError, match=r"nowhere.*No such file"):
        horses.save(tmp_path / "nowhere" / "out.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder\.png"):
        horses.save(tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
    horses.orig_img = None
    with pytest.raises(DataError, match=r"horses\.png: nothing to draw on"):
        horses.plot()


def test_supervision_reads_results_directly_and_converted(horses: Results, no_detections: Results) -> None:
    supervision = pytest.importorskip("supervision", reason="needs the extra 'supervision'")
    for result in (horses, no_detections):
        converted = result.to_supervision()
        assert converted.xyxy.dtype == np.float32
        assert converted.xyxy.shape == (len(result), 4)
        assert converted.class_id.tolist() == result.boxes.cls.tolist()
        direct = supervision.Detections.from_ultralytics(result)
        assert np.array_equal(direct.xyxy, converted.xyxy)
        assert np.array_equal(direct.confidence, converted.confidence)
        assert np.array_equal(direct.class_id, converted.class_id)
        assert direct.data["class_name"].tolist() == converted.data["class_name"].tolist()
        assert len(converted.with_nms(0.5)) <= len(converted)
    annotated = supervision.BoxAnnotator().annotate(np.zeros((*SHAPE, 3), np.uint8), horses.to_supervision())
    assert annotated.any()
