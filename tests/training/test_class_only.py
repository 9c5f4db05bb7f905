"""Images with a class and no box beside images with boxes, as YOLO9000 is trained: what is drawn, and as what."""

from __future__ import annotations

import logging
import pathlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darknet_py import cfg
from darknet_py.cfg import Dialect
from darknet_py.cli import main
from darknet_py.data.classification_list import ClassificationList, read_classification_list
from darknet_py.data.dataset import Dataset, Sample, load_image_list
from darknet_py.data.labels import empty_targets
from darknet_py.distributed import ProcessGroup
from darknet_py.errors import ConfigError, DataError
from darknet_py.network import Network
from darknet_py.training.batches import create_batches, create_detection_loader
from darknet_py.training.class_only import ObjectsAndClasses
from darknet_py.training.options import TrainOptions
from darknet_py.training.sources import Objects

NET = "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=8\n{net}\n[convolutional]\nfilters=9\nsize=1\nstride=8\n"
HEAD = "[region]\nclasses=4\nnum=1\nanchors=1,1\njitter=0\nsoftmax=1\n"
NO_BOX = [999999.0] * 4


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Two images with a box, five with a class in the path, and the files that name them."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("a.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\n")
    names = ["boxes/1.png", "boxes/2.png", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png", "dog/3.png"]
    for name in names:
        pathlib.Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(name)
    for name in names[:2]:
        pathlib.Path(name).with_suffix(".txt").write_text("0 .5 .5 .4 .4\n")
    pathlib.Path("train.txt").write_text("\n".join(names[:2]))
    pathlib.Path("classes.txt").write_text("\n".join(names[2:]))
    pathlib.Path("a.data").write_text("train = train.txt\nclassification = classes.txt\n")
    return tmp_path


def network(dialect: str = "pjreddie", net: str = "", keys: str = "tree=a.tree\n") -> Network:
    return Network(cfg.loads(NET.format(net=net) + HEAD + keys), dialect=dialect)


def drawn(loader: Any, iterations: int) -> Counter[tuple[str, tuple[float, ...]]]:
    """How often each image was drawn, with its only target."""
    counts: Counter[tuple[str, tuple[float, ...]]] = Counter()
    for _, batch in zip(range(iterations), loader, strict=False):
        for (_, targets), files in zip(batch.pairs, batch.images, strict=True):
            for target, (file,) in zip(targets, files, strict=True):
                counts[file, tuple(target[0].tolist()) if len(target) else ()] += 1
    return counts


@pytest.mark.parametrize(("line", "ratio"), [("", 4.0), ("classification_ratio = .5", 0.5)])
@pytest.mark.usefixtures("folder")
def test_both_lists_are_drawn_from_in_the_papers_ratio(line: str, ratio: float) -> None:
    with open("a.data", "a") as file:
        file.write(line)
    loader, count, _ = create_batches(network(), "a.data", TrainOptions(workers=0), ProcessGroup(), seed=1)
    counts = drawn(loader, 50)
    assert count == 2
    for (image, target), _ in counts.items():
        kind = pathlib.Path(image).parts[0]
        if kind == "boxes":
            assert target == pytest.approx((0.5, 0.5, 0.4, 0.4, 0), abs=1e-6)
        else:
            assert target == (*NO_BOX, 2 if kind == "cat" else 3)
    assert len(counts) == 7
    with_boxes = sum(n for (image, _), n in counts.items() if image.startswith("boxes"))
    share = 1 / (1 + ratio)
    assert abs(with_boxes / 400 - share) < 3 * np.sqrt(share * (1 - share) / 400)


@pytest.mark.parametrize(
    ("objects", "classes", "ratio", "repeated"),
    [(10, 40, 4, (1, 1)), (10, 80, 4, (2, 1)), (10, 10, 4, (1, 4)), (3, 10, 1, (10 / 3, 1))],
)
def test_the_list_that_is_too_short_is_repeated(
    objects: int, classes: int, ratio: float, repeated: tuple[float, float]
) -> None:
    samples = [Sample(f"{n}.png", empty_targets(), empty_targets()) for n in range(objects)]
    images = [f"dog/{n}.png" for n in range(classes)]
    source = ObjectsAndClasses(Objects(Dataset(samples)), ClassificationList(images, ratio), ("dog",), ())
    counts = Counter(source.image(index) for index in range(len(source)))
    for names, times in (([sample.image for sample in samples], repeated[0]), (images, repeated[1])):
        assert {counts[name] for name in names} <= {int(times), int(np.ceil(times))}
        assert sum(counts[name] for name in names) == round(len(names) * times)


@pytest.mark.usefixtures("folder")
def test_an_image_without_one_class_is_reported_and_not_used(caplog: pytest.LogCaptureFixture) -> None:
    pathlib.Path("bird").mkdir()
    Image.new("RGB", (40, 30)).save("bird/1.png")
    images = ClassificationList(["bird/1.png", "dog/1.png"])
    loader = create_detection_loader(network(), load_image_list(["boxes/1.png"]), classification=images, workers=0)
    with caplog.at_level(logging.WARNING):
        assert {pathlib.Path(image).parts[0] for image, _ in drawn(loader, 10)} == {"boxes", "dog"}
    message = "bird/1.png: expected one label in the path, found none; another image is drawn in its place"
    assert caplog.messages == [message]


@pytest.mark.usefixtures("folder")
def test_alexeyabs_dialect_drops_the_classes_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        loader, *_ = create_batches(network("alexeyab"), "a.data", TrainOptions(workers=0), ProcessGroup(), seed=1)
    assert caplog.messages == [
        "classification=: AlexeyAB's dialect drops the class, and trains on the images as images without objects; "
        "--dialect pjreddie trains on the class"
    ]
    targets = {target for (image, target) in drawn(loader, 4) if not image.startswith("boxes")}
    assert targets == {()}


@pytest.mark.usefixtures("folder")
def test_boxes_go_through_the_map_of_the_head_and_classes_alone_do_not() -> None:
    """combine9k.data: COCO's 80 classes through coco9k.map, and ImageNet's as numbers of the tree, in one list."""
    pathlib.Path("a.map").write_text("2\n")
    pathlib.Path("dog/1.txt").write_text("3 0 0 0 0\n")
    pathlib.Path("train.txt").write_text("boxes/1.png\ndog/1.png\n")
    mapped = network(keys="tree=a.tree\nmap=a.map\n")
    loader, *_ = create_batches(mapped, "train.txt", TrainOptions(workers=0), ProcessGroup(), seed=1)
    assert {target[4] for _, target in drawn(loader, 2)} == {0, 3}
    pathlib.Path("dog/1.txt").write_text("4 0 0 0 0\n")
    with pytest.raises(DataError, match=r"dog/1.png: class 4, but the network has 4 classes"):
        create_batches(mapped, "train.txt", TrainOptions(workers=0), ProcessGroup(), seed=1)
    pathlib.Path("dog/1.txt").write_text("1 .5 .5 .4 .4\n")
    with pytest.raises(DataError, match=r"dog/1.png: class 1, but the network has 1 classes \(0..0\), as many as map="):
        create_batches(mapped, "train.txt", TrainOptions(workers=0), ProcessGroup(), seed=1)


@pytest.mark.parametrize("in_list", [False, True])
@pytest.mark.parametrize("net", ["mosaic=1", "mixup=1", "detector_cutmix=1", "track=1"])
@pytest.mark.usefixtures("folder")
def test_combined_images_are_refused(net: str, in_list: bool) -> None:
    pathlib.Path("dog/1.txt").write_text("3 0 0 0 0\n")
    data = load_image_list(["boxes/1.png", "dog/1.png"] if in_list else ["boxes/1.png"])
    classification = None if in_list else ClassificationList(["dog/1.png"])
    with pytest.raises(ConfigError, match=r"\[net\] mosaic, .*: expected 0 to train on images that have a class and"):
        create_detection_loader(network(net=net), data, classification=classification)


@pytest.mark.usefixtures("folder")
def test_a_list_of_another_tree_and_a_head_without_one_are_refused() -> None:
    data = load_image_list(["boxes/1.png"])
    message = (
        r"^classification=: expected a class of the tree \(animal, thing, cat, ...\) in the path of each image, "
        r"found one in none of the first 1: boxes/1.png$"
    )
    with pytest.raises(DataError, match=message):
        create_detection_loader(network(), data, classification=ClassificationList(["boxes/1.png"]))
    with pytest.raises(DataError, match="expected a network whose last head has a class tree"):
        create_detection_loader(network(keys=""), data, classification=ClassificationList(["dog/1.png"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classification = none.txt", "classification: no such file or folder: 'none.txt'"),
        ("classification = empty.txt", "b.data: classification: expected images, found none"),
        ("classification = classes.txt\nclassification_ratio = 0", "classification_ratio: expected a number above 0"),
        ("classification = classes.txt\nclassification_ratio = nan", "classification_ratio: expected a number above"),
        ("classification = classes.txt\nclassification_ratio = 4:1", "classification_ratio: expected a number above"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_invalid_keys_are_refused(text: str, message: str) -> None:
    pathlib.Path("empty.txt").touch()
    pathlib.Path("b.data").write_text(f"train = train.txt\n{text}\n")
    with pytest.raises(DataError, match=message):
        read_classification_list("b.data")


@pytest.mark.usefixtures("folder")
def test_the_labels_are_the_names_of_the_tree() -> None:
    (head,) = network().heads
    assert list(head.tree_names) == ["animal", "thing", "cat", "dog"]
    assert head.options.dialect is Dialect.PJREDDIE
    (plain,) = network(keys="").heads
    assert not plain.tree_names


def test_check_reports_the_list(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("my.cfg").write_text(NET.format(net="") + HEAD + "tree=a.tree\n")
    with open("classes.txt", "a") as file:
        file.write("\nboxes/3.png")
    with open("a.data", "a") as file:
        file.write("labels = unused\n")
    assert main(["data", "check", "a.data", "my.cfg", "--per-class"]) == 1
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("ok     classification: 6 images, 2 of 4 classes")
    assert [line.split() for line in lines[first + 1 : first + 5]] == [
        ["0", "animal", "0"],
        ["1", "thing", "0"],
        ["2", "cat", "2"],
        ["3", "dog", "3"],
    ]
    assert any("boxes/3.png: expected one label in the path, found none" in line for line in lines)
    assert any("boxes/3.png: " in line and "No such file" in line for line in lines)
