"""Drawing boxes: Darknet's colours, and labels inside the image that do not overlap."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from darknet_py.errors import DataError
from darknet_py.images import drawing, fonts
from darknet_py.images.reading import ImageArray

SIZES = [(48, 48), (64, 64), (480, 640), (1080, 1920), (3000, 4000)]
FONT_SIZES = {48: 10, 64: 10, 480: 12, 1080: 33, 3000: 77}  # pixels, by height
NAMES = {0: "person", 1: "dog", 2: "traffic light"}


def blank(height: int, width: int, level: int = 0) -> ImageArray:
    return np.full((height, width, 3), level, np.uint8)


def difference(drawn: Image.Image, image: ImageArray) -> npt.NDArray[np.bool_]:
    """Mask of the pixels that the drawing changed."""
    changed: npt.NDArray[np.bool_] = (np.asarray(drawn) != image).any(axis=2)
    return changed


@pytest.mark.parametrize(
    ("cls", "classes", "expected"),
    [  # as C Darknet's get_color gives them, times 255 and truncated
        (0, 1, (255, 0, 255)),
        (1, 3, (255, 170, 0)),
        (2, 80, (223, 255, 0)),
        (7, 80, (143, 255, 0)),
        (16, 80, (255, 255, 0)),
        (79, 80, (0, 255, 239)),
    ],
)
def test_colours_equal_darknets(cls: int, classes: int, expected: drawing.Colour) -> None:
    assert drawing.class_colour(cls, classes) == expected


def test_the_image_itself_is_not_modified() -> None:
    image = blank(60, 80)
    drawn = drawing.draw_boxes(image, [[10, 10, 50, 40]], [1], [0.9], NAMES)
    assert drawn.size == (80, 60)
    assert drawn.mode == "RGB"
    assert not image.any()
    assert difference(drawn, image).any()


def test_without_detections_the_image_is_unchanged() -> None:
    image = blank(60, 80, 7)
    assert not difference(drawing.draw_boxes(image, [], [], [], {}), image).any()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_line_width_scales_with_the_image_and_lines_are_on_the_box(height: int, width: int) -> None:
    image = blank(height, width)
    box = [width // 4, height // 4, width // 2, height // 2]
    changed = difference(drawing.draw_boxes(image, [box], [1], [0.9], NAMES, labels=False), image)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert [columns[0], rows[0], columns[-1], rows[-1]] == box
    line = changed[:, (box[0] + box[2]) // 2][: (box[1] + box[3]) // 2].sum()
    assert line == max(1, round(0.003 * (height + width) / 2))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_labels_are_legible_and_inside_the_image(height: int, width: int) -> None:
    """For a box in every corner, its label is a complete rectangle, at least ten pixels high."""
    x, y = width - 1, height - 1
    corners = [[-9, -9, 12, 12], [x - 12, -9, x + 9, 12], [-9, y - 12, 12, y + 9], [x - 12, y - 12, x + 9, y + 9]]
    for corner in corners:
        boxes = drawing._group_rows([corner], [0], [0.5], NAMES, [0], (width, height), None, FONT_SIZES[height], True)
        label = drawing._place_labels(boxes, (width, height), 2, None, FONT_SIZES[height])[0]
        left, top, right, bottom = label.rectangle
        assert 0 <= left < right < width
        assert 0 <= top < bottom < height
        assert max(10, height // 60) <= bottom - top + 1 <= height // 3
        shown = np.asarray(drawing.draw_boxes(blank(height, width, 90), [corner], [0], [0.5], NAMES))
        colours = {tuple(pixel) for pixel in shown[top : bottom + 1, left : right + 1].reshape(-1, 3).tolist()}
        assert label.colour in colours
        assert min(sum(pixel) for pixel in colours) < 60, "text on that background is black"
        assert (90, 90, 90) not in colours


@pytest.mark.parametrize(("level", "names"), [(0, 2), (0, 80), (255, 80)])
def test_text_has_contrast_with_every_class_colour(level: int, names: int) -> None:
    for k in range(names):
        background = drawing.class_colour(k, names)
        ink = 0 if drawing._luminance(background) > 0.179 else 1
        light = drawing._luminance(background)
        contrast = (max(light, ink) + 0.05) / (min(light, ink) + 0.05)
        assert contrast > 4.5, "required by WCAG"


def test_a_label_fits_into_a_low_image() -> None:
    image = blank(40, 4000)
    changed = difference(drawing.draw_boxes(image, [[900, 3, 1200, 30]], [0], [0.9], NAMES), image)
    assert not changed[:, :800].any()
    assert np.flatnonzero(changed.any(axis=1))[-1] <= 30


def test_labels_do_not_overlap() -> None:
    boxes = drawing._group_rows(
        [[200, 200, 300, 300], [202, 201, 303, 302], [198, 203, 300, 299]], [0, 1, 2], [0.9, 0.8, 0.7], NAMES,
        range(3), (640, 480), None, 12, True,
    )  # fmt: skip
    labels = drawing._place_labels(boxes, (640, 480), 2, None, 12)
    assert [label.text for label in labels] == ["person: 0.90", "dog: 0.80", "traffic light: 0.70"]
    for i, label in enumerate(labels):
        left, top, right, bottom = label.rectangle
        assert 0 <= left < right < 640
        assert 0 <= top < bottom < 480
        assert not any(drawing._intersection(label.rectangle, other.rectangle) for other in labels[:i])


def test_a_box_of_two_classes_has_one_label() -> None:
    boxes = drawing._group_rows([[5, 5, 90, 90]] * 2, [1, 0], [0.6, 0.9], NAMES, [4, 4], (640, 480), None, 12, True)
    assert len(boxes) == 1
    assert boxes[0].colour == drawing.class_colour(0, 3)
    assert drawing._place_labels(boxes, (640, 480), 2, None, 12)[0].text == "person: 0.90, dog"


def test_long_labels_drop_other_classes_then_the_confidence() -> None:
    box = drawing._group_rows([[0, 0, 9, 9]] * 2, [2, 0], [0.9, 0.6], NAMES, [0, 0], (640, 480), None, 10, True)[0]
    font = fonts.default_font(10)
    texts = [drawing._fit_text(box, font, width) for width in (300, 100, 70, 30, 3)]
    assert texts[:3] == ["traffic light: 0.90, person", "traffic light: 0.90", "traffic light"]
    assert texts[3].startswith("tra")
    assert texts[3].endswith("..")
    assert texts[4] == "t"


def test_boxes_outside_the_image_are_not_drawn() -> None:
    image = blank(50, 50)
    outside: list[list[float]] = [
        [60, 10, 70, 20],
        [10, -30, 20, -1],
        [float("nan"), 0, 10, 10],
        [0, 0, float("inf"), 10],
    ]
    assert not difference(drawing.draw_boxes(image, outside, [0] * 4, [0.9] * 4, NAMES), image).any()
    assert difference(drawing.draw_boxes(image, [[-1e9, -1e9, 1e9, 1e9]], [0], [0.9], NAMES), image).any()
    drawing.draw_boxes(image, [[20, 20, 20, 20]], [0], [0.9], NAMES)


def test_the_highest_confidence_is_drawn_on_top() -> None:
    drawn = drawing.draw_boxes(blank(50, 50), [[5, 5, 45, 45]] * 2, [1, 0], [0.9, 0.3], NAMES, labels=False)
    assert drawn.getpixel((5, 20)) == drawing.class_colour(1, 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_images_of_any_number_of_channels_can_be_drawn_on(channels: int) -> None:
    image = np.full((40, 40, channels), 9, np.uint8)
    assert drawing.draw_boxes(image, [[5, 5, 30, 30]], [0], [0.9], {}).getpixel((35, 35)) == (9, 9, 9)
    assert drawing.draw_boxes(image[:, :, 0], [], [], [], {}).mode == "RGB"


def test_the_error_names_an_unknown_font() -> None:
    with pytest.raises(DataError, match=r"missing\.ttf: not a font that can be read"):
        drawing.draw_boxes(blank(40, 40), [[5, 5, 30, 30]], [0], [0.9], NAMES, font="missing.ttf")
