"""Track numbers of objects whose places are known, and counts at lines and in zones, by hand."""

from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image

from darknet_py.counting import Counter, LineCounter, ZoneCounter, draw_counters
from darknet_py.detector import Detector
from darknet_py.errors import DarknetError, DataError
from darknet_py.results.results import Results
from darknet_py.tracking import Tracker
from tests.helpers import moving_digits

NAMES = ("cat", "dog")
Box = tuple[float, float, float, int]  # centre x and y in pixels, confidence, class


def frame(*boxes: Box, size: float = 20) -> Results:
    """Results on an image of 100 x 100 pixels."""
    xywhn = torch.tensor([(x, y, size, size) for x, y, *_ in boxes]).reshape(-1, 4) / 100
    conf, cls = torch.tensor([box[2] for box in boxes]), torch.tensor([box[3] for box in boxes], dtype=torch.int64)
    return Results(xywhn, conf, cls, shape=(100, 100), names=NAMES)


def tracked(*boxes: tuple[float, float, int], cls: int = 0) -> Results:
    """Results with given track numbers: centre x and y, number."""
    result = frame(*((x, y, 0.9, cls) for x, y, _ in boxes))
    return result.with_tracks(slice(None), torch.tensor([number for *_, number in boxes], dtype=torch.int64))


@pytest.fixture
def tracker() -> Tracker:
    pytest.importorskip("trackers", reason="tracking needs it: pip install 'darknet-torch[track]'")
    return Tracker(0.5)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(DarknetError, match=r"tracking needs a package: pip install 'darknet-torch\[track\]'"):
        Tracker()


def test_a_track_is_numbered_in_its_second_frame_and_survives_low_scores_and_gaps(tracker: Tracker) -> None:
    scores = [0.9, 0.9, 0.3, 0.2, None, None, 0.9]
    ids = []
    for number, score in enumerate(scores):
        boxes = [] if score is None else [(10.0 + 3 * number, 50.0, score, 1)]
        result = tracker.update(frame(*boxes))
        assert result.boxes.id is not None
        ids.append(result.boxes.id.tolist())
    assert ids == [[-1], [0], [0], [0], [], [], [0]]


def test_a_low_score_starts_no_track_and_is_dropped(tracker: Tracker) -> None:
    for _ in range(3):
        result = tracker.update(frame((50, 50, 0.4, 0), (20, 20, 0.8, 1)))
        assert result.boxes.cls.tolist() == [1]
    assert result.summary()[0]["track_id"] == 0


def test_a_lost_object_gets_another_number_after_the_time(tracker: Tracker) -> None:
    short = Tracker(0.5, lost_seconds=0.2)
    for one, expected in ((tracker, 0), (short, 1)):
        for step in (0.0, 0.04, 0.5, 0.54):
            result = one.update(frame((50, 50, 0.9, 0)), step)
        assert result.boxes.id is not None
        assert result.boxes.id.tolist() == [expected]


def test_times_that_stand_still_or_jump_back_do_not_end_tracks(tracker: Tracker) -> None:
    for step in (0.0, 0.04, 0.04, 0.02, 0.2):
        result = tracker.update(frame((50, 50, 0.9, 0)), step)
    assert result.summary()[0]["track_id"] == 0


def test_rows_of_one_box_have_one_number(tracker: Tracker) -> None:
    row = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
    for _ in range(2):
        result = tracker.update(
            Results(
                row.repeat(3, 1) + torch.tensor([[0.0], [0.0], [0.3]]),
                torch.tensor([0.9, 0.6, 0.8]),
                torch.tensor([0, 1, 0]),
                torch.tensor([4, 4, 7]),
                shape=(100, 100),
                names=NAMES,
            )
        )
    assert result.boxes.id is not None
    rows = sorted(zip(result.boxes.box.tolist(), result.boxes.id.tolist(), strict=True))
    assert rows[0] == rows[1]
    assert rows[0][1] != rows[2][1]
    assert min(rows)[1] >= 0


def test_another_class_of_a_tracked_box_has_the_threshold(tracker: Tracker) -> None:
    for best in (0.9, 0.2):  # the box itself continues its track below the threshold
        result = tracker.update(
            Results(
                torch.tensor([[0.5, 0.5, 0.2, 0.2]]).repeat(2, 1),
                torch.tensor([best, 0.15]),
                torch.tensor([0, 1]),
                torch.tensor([4, 4]),
                shape=(100, 100),
                names=NAMES,
            )
        )
        assert result.boxes.cls.tolist() == [0]
    assert result.boxes.id is not None
    assert result.boxes.id.tolist() == [0]


def test_numbers_are_kept_by_selection_clipping_and_supervision(tracker: Tracker) -> None:
    for _ in range(2):
        result = tracker.update(frame((5, 50, 0.9, 0), (60, 50, 0.8, 1)))
    assert result.boxes.id is not None
    ids = result.boxes.id.tolist()
    assert sorted(ids) == [0, 1]
    for same in (result.clip(), result[:], result.cpu(), result.numpy()):
        assert [row["track_id"] for row in same.summary()] == ids
    assert [row["track_id"] for row in result[1].summary()] == ids[1:]
    assert result.to_supervision().tracker_id.tolist() == ids
    tracker.reset()
    assert [row["track_id"] for row in tracker.update(frame((5, 50, 0.9, 0))).summary()] == [None]
    assert "track_id" not in frame((5, 50, 0.9, 0)).summary()[0]


@pytest.fixture(scope="module")
def digits() -> Detector:
    return Detector("digits", threshold=0.1)


@pytest.mark.parametrize(
    ("movers", "pillar", "frames"),
    [
        (moving_digits.CROSSING, None, 46),
        (moving_digits.MEETING, None, 35),
        (moving_digits.CROSSING[:1], (42, 54), 46),
    ],
    ids=["two rows", "one covers the other", "behind a pillar"],
)
def test_digits_of_a_network_keep_their_numbers(
    movers: tuple[moving_digits.Mover, ...],
    pillar: tuple[int, int] | None,
    frames: int,
    tracker: Tracker,
    digits: Detector,
) -> None:
    line = LineCounter(0.5, 0, 0.5, 1)
    found: dict[int, list[int]] = {mover.digit: [] for mover in movers}
    for number in range(frames):
        result = tracker.update(digits(moving_digits.render(movers, number, pillar)))
        line.update(result)
        assert result.boxes.id is not None
        rows = zip(result.boxes.cls.tolist(), result.boxes.id.tolist(), result.boxes.xywh.tolist(), strict=True)
        for cls, track, (x, y, *_) in rows:
            for mover in movers:
                at_x, at_y = mover.centre(number)
                if cls == mover.digit and abs(x - at_x) < 4 and abs(y - at_y) < 4:
                    found[mover.digit].append(track)
    numbers = [set(tracks[1:]) for tracks in found.values()]
    assert all(len(tracks) > frames * 0.7 for tracks in found.values())
    assert [len(one) for one in numbers] == [1] * len(movers)
    assert len(set.union(*numbers)) == len(movers)
    expected = {"three": {"in": 0, "out": 1}, "eight": {"in": 1, "out": 0}}  # in is leftwards
    names = ["three" if mover.digit == 3 else "eight" for mover in movers]
    assert line.to_dict()["classes"] == {name: expected[name] for name in names}


def move(counter: Counter, *places: tuple[float, float], number: int = 0, cls: int = 0) -> Counter:
    for x, y in places:
        counter.update(tracked((x, y, number), cls=cls))
    return counter


def counts(counter: Counter) -> tuple[int, int]:
    return sum(counter.entered.values()), sum(counter.left.values())


@pytest.mark.parametrize(
    ("line", "places", "expected"),
    [
        ((0, 50, 100, 50), [(30, 20), (30, 80)], (1, 0)),  # downwards over a line from left to right
        ((100, 50, 0, 50), [(30, 20), (30, 80)], (0, 1)),
        ((50, 0, 50, 100), [(80, 30), (20, 30)], (1, 0)),  # leftwards over a line from top to bottom
        ((0.5, 0, 0.5, 1), [(80, 30), (20, 30)], (1, 0)),
        ((0, 50, 40, 50), [(70, 20), (70, 80)], (0, 0)),  # beside its end
        ((0, 50, 35, 50), [(70, 20), (10, 80)], (0, 0)),  # the path crosses beyond the end
        ((0, 50, 45, 50), [(70, 20), (10, 80)], (1, 0)),
        ((0, 50, 100, 50), [(30, 49), (30, 51), (30, 49), (30, 51)], (0, 0)),  # it never was beyond the margin of 2
        ((0, 50, 100, 50), [(30, 40), (30, 51), (30, 49), (30, 53), (30, 49)], (1, 0)),
        ((0, 50, 100, 50), [(30, 40), (30, 60), (30, 40)], (1, 1)),
        ((0, 0, 100, 100), [(60, 40), (40, 60)], (1, 0)),
    ],
)
def test_a_line_counts_the_centres_that_cross_it(
    line: tuple[float, float, float, float], places: list[tuple[float, float]], expected: tuple[int, int]
) -> None:
    assert counts(move(LineCounter(*line), *places)) == expected


SQUARE = [(20, 20), (80, 20), (80, 80), (20, 80)]
CAVE = [(0, 0), (90, 0), (90, 90), (60, 90), (60, 30), (30, 30), (30, 90), (0, 90)]  # open downwards in the middle


@pytest.mark.parametrize(
    ("points", "places", "expected"),
    [
        (SQUARE, [(5, 50), (50, 50)], (1, 0)),
        (SQUARE, [(50, 50), (50, 95)], (0, 1)),
        (SQUARE, [(50, 50), (60, 60)], (0, 0)),  # it has not entered
        (SQUARE, [(5, 50), (21, 50), (19, 50), (21, 50)], (0, 0)),  # within the margin of 2
        (SQUARE, [(5, 50), (23, 50), (19, 50), (23, 50)], (1, 0)),
        ([(x / 100, y / 100) for x, y in SQUARE], [(5, 50), (50, 50), (95, 50)], (1, 1)),
        (CAVE, [(45, 95), (45, 60)], (0, 0)),
        (CAVE, [(45, 60), (45, 15)], (1, 0)),
        (list(reversed(CAVE)), [(45, 60), (15, 60)], (1, 0)),
    ],
)
def test_a_zone_counts_the_centres_that_enter_and_leave(
    points: list[tuple[float, float]], places: list[tuple[float, float]], expected: tuple[int, int]
) -> None:
    assert counts(move(ZoneCounter(points), *places)) == expected


def test_counts_are_by_class_and_only_of_tracks() -> None:
    line, zone = LineCounter(0, 50, 100, 50), ZoneCounter(SQUARE)
    for counter in (line, zone):
        move(counter, (50, 10), (50, 70), number=3, cls=1)
        move(counter, (50, 10), (50, 70), number=4, cls=0)
        move(counter, (50, 10), (50, 70), number=-1)
    assert line.to_dict() == {
        "kind": "line",
        "points": [[0, 50], [100, 50]],
        "classes": {"dog": {"in": 1, "out": 0}, "cat": {"in": 1, "out": 0}},
    }
    assert str(line) == "in 2 (cat 1, dog 1), out 0"
    assert zone.to_dict()["inside"] == {}  # the last frame has a box without a track
    move(zone, (50, 60), number=3, cls=1)
    assert str(zone) == "in 2 (cat 1, dog 1), out 0, inside 1 (dog 1)"


def test_an_object_counts_as_the_class_that_its_track_was_most() -> None:
    line = LineCounter(0, 50, 100, 50)
    move(line, (50, 10), (50, 30), cls=1)
    move(line, (50, 60), cls=0)
    assert line.to_dict()["classes"] == {"dog": {"in": 1, "out": 0}}


def test_old_tracks_are_forgotten() -> None:
    line = LineCounter(0, 50, 100, 50)
    for start in range(0, 30_000, 1000):
        line.update(tracked(*((50, 10, number) for number in range(start, start + 1000))))
    assert len(line._places) == len(line._classes) == 10_000


def test_lines_and_zones_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="line: expected different points, got 1,2,1,2"):
        LineCounter(1, 2, 1, 2)
    with pytest.raises(DataError, match="line: expected finite coordinates, got nan,2,1,2"):
        LineCounter(float("nan"), 2, 1, 2)
    with pytest.raises(DataError, match="zone: expected three or more points, got 0,0,1,1"):
        ZoneCounter([(0, 0), (1, 1)])
    with pytest.raises(DataError, match=r"zone: expected the results of Tracker\.update, got boxes without tracks"):
        ZoneCounter(SQUARE).update(frame((1, 1, 0.5, 0)))


def test_a_zone_without_an_inside_is_refused() -> None:
    with pytest.raises(DataError, match="zone: expected points that are not on one line"):
        ZoneCounter([(0, 0), (0.5, 0.5), (1, 1)])


def test_lines_and_zones_are_drawn_with_their_counts() -> None:
    image = Image.new("RGB", (100, 100))
    line, zone = LineCounter(0, 0.5, 1, 0.5), ZoneCounter([(10, 10), (40, 10), (40, 40)])
    drawn = draw_counters(image, [line, zone])
    assert drawn.getpixel((2, 50)) == drawn.getpixel((40, 30)) == (255, 200, 0)
    assert image.getpixel((2, 50)) == (0, 0, 0)
