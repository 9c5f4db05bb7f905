"""``transfer``: every layer that fits is taken, the others are named; rows of common classes in the heads."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from darknet_py import Trainer, TrainOptions, cfg, cli, loading, weights
from darknet_py.errors import ConfigError, WeightsError
from darknet_py.network import Network
from darknet_py.training import resume
from darknet_py.training.transfer import transfer_weights
from tests.helpers import paths, random_networks, synthetic_data, training_runs

TEXT = """[net]
width=32
height=32
channels=3
batch=4
max_batches=10
[conv]
filters=6
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky
[conv]
filters={filters}
activation=linear
[{head}]
classes={classes}
num=3
mask=0,1
anchors=4,5,9,8,12,20
[route]
layers=0
[conv]
filters=8
size=3
pad=1
batch_normalize=1
activation=leaky
[conv]
filters={filters_of_one}
activation=linear
[{head}]
classes={classes}
num=3
mask=2
anchors=4,5,9,8,12,20
"""
CAT_DOG_HEN = ("cat", "dog", "hen")
HEN_COW_CAT_PIG_EWE = ("hen", "cow", "cat", "pig", "ewe")


def build(classes: int, seed: int, head: str = "yolo", path: str = "made.cfg") -> Network:
    entries = 9 if head == "Gaussian_yolo" else 5
    filters = {"filters": 2 * (entries + classes), "filters_of_one": entries + classes}
    network = Network(cfg.loads(TEXT.format(classes=classes, head=head, **filters), path))
    return random_networks.randomise(network, seed)


def save(network: Network, path: pathlib.Path, names: Sequence[str] = ()) -> pathlib.Path:
    network.seen = 640
    weights.save(network, path)
    if names:
        path.with_suffix(".names").write_text("\n".join(names))
    return path


def arrays(network: Network) -> dict[str, Tensor]:
    return {f"{i}.{name}": t.detach().clone() for i, layer in enumerate(network) for name, t in layer.stored()}


def test_layers_that_fit_are_taken_and_the_others_are_named(tmp_path: pathlib.Path) -> None:
    """The number of classes of the file follows from its length."""
    source, network = build(3, seed=1), build(5, seed=2)
    before = arrays(network)
    result = transfer_weights(network, save(source, tmp_path / "w.weights"))
    assert (result.taken, result.arrays) == (10, 14)
    assert str(result) == (
        "10 of 14 arrays; not taken as a whole: layer 1 [conv] (biases 16, here 20), layer 5 [conv] (biases 8, here 10)"
    )
    theirs = arrays(source)
    for name, array in arrays(network).items():
        assert torch.equal(array, (before if name[0] in "15" else theirs)[name]), name
    assert network.seen == 0


@pytest.mark.parametrize("head", ["yolo", "Gaussian_yolo"])
def test_rows_of_common_classes_are_taken(head: str, tmp_path: pathlib.Path) -> None:
    source, network = build(3, 1, head), build(5, 2, head)
    before = arrays(network)
    path = save(source, tmp_path / "w.weights", CAT_DOG_HEN)
    result = transfer_weights(network, path, names=HEN_COW_CAT_PIG_EWE)
    assert (result.rows, result.classes, result.skipped) == ((1, 5), ("hen", "cat"), ())
    assert str(result) == (
        "10 of 14 arrays, and of layers 1, 5 the rows of 2 common classes (hen, cat), of boxes and of objectness"
    )
    box = 9 if head == "Gaussian_yolo" else 5
    theirs, mine = arrays(source), arrays(network)
    for layer, anchors in ((1, 2), (5, 1)):
        for kind in ("biases", "weights"):
            key = f"{layer}.{kind}"
            for anchor in range(anchors):
                here, there = anchor * (box + 5), anchor * (box + 3)
                rows = [(row, theirs[key][there + row]) for row in range(box)]
                rows += [(box, theirs[key][there + box + 2]), (box + 2, theirs[key][there + box])]
                rows += [(box + row, before[key][here + box + row]) for row in (1, 3, 4)]
                for row, expected in rows:
                    assert torch.equal(mine[key][here + row], expected), (key, anchor, row)


def test_classes_in_another_order_are_matched_by_name(tmp_path: pathlib.Path) -> None:
    source, network = build(3, 1), build(3, 2)
    before = arrays(network)
    transfer_weights(network, save(source, tmp_path / "w.weights", CAT_DOG_HEN), names=("hen", "ox", "cat"))
    biases, theirs = arrays(network)["5.biases"], arrays(source)["5.biases"]
    expected = torch.cat((theirs[:5], theirs[7:8], before["5.biases"][6:7], theirs[5:6]))
    assert torch.equal(biases, expected)


def test_the_same_classes_are_taken_as_a_whole(tmp_path: pathlib.Path) -> None:
    source, network = build(3, 1), build(3, 2)
    result = transfer_weights(network, save(source, tmp_path / "w.weights", CAT_DOG_HEN), names=CAT_DOG_HEN)
    assert (result.taken, result.rows, result.skipped) == (14, (), ())
    for name, array in arrays(source).items():
        assert torch.equal(arrays(network)[name], array), name


def test_without_names_on_both_sides_no_row_is_taken(tmp_path: pathlib.Path) -> None:
    source, network = build(3, 1), build(5, 2)
    path = save(source, tmp_path / "w.weights")
    assert transfer_weights(network, path, names=HEN_COW_CAT_PIG_EWE).rows == ()
    path.with_suffix(".names").write_text("cat\ndog\n")  # of another number of classes
    assert transfer_weights(network, path, names=HEN_COW_CAT_PIG_EWE).rows == ()
    path.with_suffix(".names").write_text("\n".join(CAT_DOG_HEN))
    assert transfer_weights(network, path).rows == ()


def test_the_names_of_a_run_lie_beside_its_weights(tmp_path: pathlib.Path) -> None:
    path = save(build(3, 1), tmp_path / "pets_final.weights")
    (tmp_path / "pets.names").write_text("\n".join(CAT_DOG_HEN))
    assert transfer_weights(build(5, 2), path, names=HEN_COW_CAT_PIG_EWE).classes == ("hen", "cat")


def test_a_checkpoint_brings_its_cfg_and_names(tmp_path: pathlib.Path) -> None:
    source, network = build(3, 1), build(5, 2)
    source.names = CAT_DOG_HEN
    loading.save(source, tmp_path / "w.pt")
    assert transfer_weights(network, tmp_path / "w.pt", names=HEN_COW_CAT_PIG_EWE).classes == ("hen", "cat")
    assert torch.equal(arrays(network)["0.weights"], arrays(source)["0.weights"])


def test_a_network_with_other_layers_needs_its_cfg(tmp_path: pathlib.Path) -> None:
    text = TEXT.format(classes=3, head="yolo", filters=16, filters_of_one=8)
    wider = text.replace("filters=8\nsize=3\npad=1", "filters=7\nsize=3\npad=1")
    (tmp_path / "other.cfg").write_text(wider)
    source = random_networks.randomise(Network(cfg.loads(wider)), 1)
    path = save(source, tmp_path / "w.weights")
    network = build(3, 2)
    with pytest.raises(WeightsError, match=r"expected \d+ bytes"):
        transfer_weights(network, path)
    result = transfer_weights(network, path, cfg=tmp_path / "other.cfg")
    assert str(result).startswith(
        "7 of 14 arrays; not taken as a whole: layer 4 [conv] (biases 7, here 8), layer 5 [conv]"
    )
    assert torch.equal(arrays(network)["1.weights"], arrays(source)["1.weights"])


def test_a_backbone_is_taken_as_far_as_it_goes(tmp_path: pathlib.Path) -> None:
    source, network = build(3, 1), build(3, 2)
    weights.save(source, tmp_path / "w.conv.2", upto=2)
    before = arrays(network)
    result = transfer_weights(network, tmp_path / "w.conv.2")
    assert result.taken == 7
    assert torch.equal(arrays(network)["1.weights"], arrays(source)["1.weights"])
    assert torch.equal(arrays(network)["4.weights"], before["4.weights"])


def test_a_classifier_keeps_all_but_its_last_layer(tmp_path: pathlib.Path) -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=4\n[conv]\nfilters={}\n[avgpool]\n[softmax]\n"
    source, network = (random_networks.network(text.format(count)) for count in (7, 3))
    result = transfer_weights(network, save(source, tmp_path / "w.weights"))
    assert str(result) == "2 of 4 arrays; not taken as a whole: layer 1 [conv] (biases 7, here 3)"


def test_files_that_the_cfg_may_name_are_found_for_other_classes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.map").write_text("0\n1\n")
    source = build(3, 1)
    text = TEXT.format(classes=5, head="yolo", filters=20, filters_of_one=10)
    text = text.replace("classes=5\n", f"classes=5\nmap={tmp_path / 'a.map'}\n")
    network = Network(cfg.loads(text, "elsewhere/a.cfg", allow_paths=True)).initialise()
    assert transfer_weights(network, save(source, tmp_path / "w.weights")).taken == 10


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(200), bytes(16) + b"\x00" * 4000])
def test_a_file_that_does_not_fit_is_an_error(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "w.weights"
    path.write_bytes(content)
    network = build(3, 1)
    before = arrays(network)
    with pytest.raises(WeightsError, match=r"w\.weights: "):
        transfer_weights(network, path)
    for name, array in arrays(network).items():
        assert torch.equal(array, before[name]), name


def test_train_transfers(tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From 2 classes, red and blue, to 3: the names are those of the data sets."""
    path = synthetic_data.cfg(tmp_path, max_batches=1)
    line = ["train", str(rectangles / "tiny.data"), str(path), "--device", "cpu", "--workers", "0", "--no-map"]
    assert cli.main([*line, "--chart", "", "--output", str(tmp_path / "two")]) == 0
    three = tmp_path / "three.cfg"
    three.write_text(path.read_text().replace("filters=14", "filters=16").replace("classes=2", "classes=3"))
    (tmp_path / "three.names").write_text("green\nblue\nred\n")
    data = tmp_path / "three.data"
    data.write_text(f"classes=3\ntrain={rectangles / 'train.txt'}\nnames={tmp_path / 'three.names'}\n")
    last = tmp_path / "two" / "tiny_last.weights"  # its state is beside it and is not resumed
    line[1:3] = [str(data), str(three)]
    capsys.readouterr()
    more = ["--chart", "", "--output", str(tmp_path / "three"), "--transfer", "--set", "learning_rate=0"]
    assert cli.main([*line[:3], str(last), *line[3:], *more]) == 0
    said = capsys.readouterr().err
    assert f"starting from {last}: 15 of 17 arrays, and of layers 3 the rows of 2 common classes (blue, red)" in said
    source = loading.load(path, last)
    network = loading.load(three, tmp_path / "three" / "three_final.weights")
    there, here = source.get_parameter("layers.3.biases"), network.get_parameter("layers.3.biases")
    assert torch.equal(here[8 + 6 : 8 + 8], there[7 + 5 : 7 + 7].flip(0))  # second anchor: blue, red


def test_mapped_classes_are_matched_by_the_names_of_the_network(
    tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    """The data set's classes are red and blue, those of the network blue and red."""
    path = synthetic_data.cfg(tmp_path, max_batches=1, learning_rate=0)
    source = random_networks.randomise(Network(cfg.load(path)), 1)
    network = training_runs.run(
        path,
        rectangles / "tiny.data",
        output=tmp_path,
        weights=save(source, tmp_path / "w.weights", ("red", "blue")),
        transfer=True,
        map_classes="red=1,blue=0",
    )
    there, here = (each.get_parameter("layers.3.biases").view(2, 7) for each in (source, network))
    assert torch.equal(here, torch.cat((there[:, :5], there[:, 5:].flip(1)), dim=1))


@pytest.mark.parametrize("options", [{"transfer": True}, {"transfer": True, "weights": "w.weights", "upto": 2}])
def test_transfer_needs_weights_and_no_upto(options: dict[str, Any], tmp_path: pathlib.Path) -> None:
    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=1))
    with pytest.raises(ConfigError, match="transfer: expected weights"):
        Trainer(network, "none.data", TrainOptions(output=tmp_path, **options)).run()


def test_yolov4_tiny_keeps_all_but_its_heads_for_other_classes(
    yolov4_tiny_weights: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    text = (paths.ROOT / "cfgs" / "yolov4-tiny.cfg").read_text()
    network = Network(cfg.loads(text.replace("filters=255", "filters=24").replace("classes=80", "classes=3")))
    network.initialise()
    plain = transfer_weights(network, yolov4_tiny_weights)
    assert (plain.taken, plain.arrays, len(plain.skipped)) == (95, 99, 2)
    named = transfer_weights(network, yolov4_tiny_weights, names=("unicorn", "dog", "truck"))
    assert (named.taken, named.skipped, named.classes) == (95, (), ("dog", "truck"))
