"""``Loader``: batches do not depend on workers and processes, and follow the cfg's sizes and images."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import cfg
from darknet_py.data import labels
from darknet_py.data.dataset import Dataset, Sample, load_image_list
from darknet_py.data.labels import empty_targets
from darknet_py.errors import ConfigError, DataError
from darknet_py.network import Network
from darknet_py.training.batches import create_classification_loader, create_detection_loader
from darknet_py.training.loader import Batch, Loader

CFG = """
[net]
width=64
height=32
channels=3
batch=8
subdivisions=2
max_batches=1000
hue=.1
saturation=1.5
exposure=1.5
{net}
[convolutional]
filters={filters}
size=1
stride=8
{head}
"""
YOLO = "[yolo]\nclasses=3\nnum=1\nanchors=10,10\njitter=.3\nmax=20\n"


def network(net: str = "", head: str = YOLO, filters: int = 8) -> Network:
    return Network(cfg.loads(CFG.format(net=net.replace(" ", "\n"), head=head, filters=filters)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve images of noise with two objects each."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    for number in range(12):
        size = (*(int(n) for n in rng.integers(40, 90, 2)), 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{number:02}_dog.png")
        (folder / f"{number:02}_dog.txt").write_text("0 .4 .4 .5 .5\n2 .7 .6 .4 .3\n")
    return load_image_list([str(path) for path in sorted(folder.glob("*.png"))])


def taken(loader: Loader, count: int) -> list[Batch]:
    batches = iter(loader)
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()  # type: ignore[attr-defined]


def same(one: Batch, other: Batch) -> bool:
    if (one.iteration, one.size, one.images) != (other.iteration, other.size, other.images):
        return False
    for (x, targets), (y, others) in zip(one.pairs, other.pairs, strict=True):
        if not torch.equal(x, y) or not all(torch.equal(a, b) for a, b in zip(targets, others, strict=True)):
            return False
    return True


MIXED = "mosaic=1 blur=5 gaussian_noise=10"


def test_a_batch_has_images_and_targets_for_each_mini_batch(dataset: Dataset) -> None:
    for number, batch in enumerate(taken(create_detection_loader(network(), dataset), 2)):
        assert (batch.iteration, batch.size) == (number, (64, 32))
        assert len(batch.pairs) == len(batch.images) == 2
        for (x, targets), names in zip(batch.pairs, batch.images, strict=True):
            assert (x.shape, x.dtype) == ((4, 3, 32, 64), torch.float32)
            assert 0 <= float(x.min()) < float(x.max()) <= 1
            assert len(targets) == len(names) == 4
            assert all(t.shape[1] == 5 and t.dtype == torch.float32 for t in targets)
            assert all(set(t[:, 4].tolist()) <= {0.0, 2.0} for t in targets)
            assert {name for part in names for name in part} <= {s.image for s in dataset}


@pytest.mark.parametrize("net", ["", MIXED, "mixup=1", "letter_box=1"])
def test_batches_do_not_depend_on_the_number_of_workers(dataset: Dataset, net: str) -> None:
    first, *others = (taken(create_detection_loader(network(net), dataset, workers=n, seed=4), 3) for n in (0, 1, 3))
    for other in others:
        assert all(map(same, first, other))


def test_seeds_change_images_and_augmentation(dataset: Dataset) -> None:
    one, other = (taken(create_detection_loader(network(), dataset, seed=seed), 1)[0] for seed in (1, 2))
    assert one.images != other.images
    assert not torch.equal(one.pairs[0][0], other.pairs[0][0])


def test_a_loader_continues_from_its_iteration(dataset: Dataset) -> None:
    head = YOLO + "random=1\n"
    whole = taken(create_detection_loader(network(MIXED, head), dataset), 12)
    late = taken(create_detection_loader(network(MIXED, head), dataset, iteration=9), 3)
    assert all(map(same, whole[9:], late))
    loader = create_detection_loader(network(MIXED, head), dataset)
    taken(loader, 9)
    assert loader.iteration == 9
    assert all(map(same, whole[9:], taken(loader, 3)))


def test_processes_share_every_mini_batch(dataset: Dataset) -> None:
    whole = taken(create_detection_loader(network(MIXED), dataset), 2)
    parts = [taken(create_detection_loader(network(MIXED), dataset, rank=rank, world_size=2), 2) for rank in range(2)]
    for number, batch in enumerate(whole):
        for subdivision, (x, targets) in enumerate(batch.pairs):
            shares = [part[number].pairs[subdivision] for part in parts]
            assert torch.equal(x, torch.cat([share[0] for share in shares]))
            assert all(map(torch.equal, targets, [t for share in shares for t in share[1]]))
    with pytest.raises(ConfigError, match="3 processes cannot share"):
        create_detection_loader(network(), dataset, world_size=3)


def test_it_ends_at_max_batches(dataset: Dataset) -> None:
    assert [b.iteration for b in create_detection_loader(network(), dataset, iteration=998)] == [998, 999]
    assert len(list(create_detection_loader(network(), dataset, until=1))) == 1


def test_threads_end_with_the_loop(dataset: Dataset) -> None:
    before = threading.active_count()
    loop = iter(create_detection_loader(network(), dataset, workers=3))
    next(loop)
    assert threading.active_count() > before
    loop.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def with_broken(dataset: Dataset, broken: Sequence[pathlib.Path]) -> Dataset:
    return Dataset([*dataset.samples, *(Sample(str(path), empty_targets(), empty_targets()) for path in broken)])


def test_an_unreadable_image_is_reported_once_and_replaced(
    dataset: Dataset, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    torn, missing = tmp_path / "torn.jpg", tmp_path / "missing.jpg"
    torn.write_bytes(b"\xff\xd8\xff")
    several = with_broken(dataset, [torn, missing] * 4)
    first, other = (taken(create_detection_loader(network(), several, workers=n), 4) for n in (0, 2))
    assert all(map(same, first, other))
    used = {name for batch in first for names in batch.images for part in names for name in part}
    assert used <= {sample.image for sample in dataset}
    said = [record.getMessage() for record in caplog.records]
    assert len([text for text in said if "torn.jpg" in text]) == 2  # once by each loader
    assert len([text for text in said if "missing.jpg" in text]) == 2
    with pytest.raises(DataError, match="100 images drawn in a row cannot be read"):
        taken(create_detection_loader(network(), Dataset(several.samples[-2:])), 1)


def test_a_data_set_that_does_not_fit_the_network(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="found none"):
        create_detection_loader(network(), Dataset(()))
    with pytest.raises(ConfigError, match="expected a network with a detection head"):
        create_detection_loader(network(head=""), dataset)
    few = YOLO.replace("classes=3", "classes=2")
    loader = create_detection_loader(network(head=few, filters=7), dataset)
    assert len(loader.problems) == len(dataset)
    assert "class 2, but the network has 2 classes" in str(loader.problems[0])
    assert all((t[:, 4] < 2).all() for x, targets in taken(loader, 1)[0].pairs for t in targets)


def test_pairs_for_contrastive_training(dataset: Dataset) -> None:
    batch = taken(create_detection_loader(network("contrastive=1"), dataset), 1)[0]
    for (_, targets), names in zip(batch.pairs, batch.images, strict=True):
        assert names[0::2] == names[1::2]
        assert all(t.shape[1] == 6 for t in targets)
    x, _ = batch.pairs[0]
    assert torch.equal(x[0], x[1])  # edges, flip and colours of the first
    assert not torch.equal(x[0], x[2])
    other = network("contrastive=1 contrastive_jit_flip=1")
    (x, _), _ = taken(create_detection_loader(other, dataset), 1)[0].pairs
    assert not torch.equal(x[0], x[1])


def classifier(net: str = "") -> Network:
    return network(f"min_crop=32 max_crop=64 {net}", "[avgpool]\n[softmax]\n", 3)


LABELS = ("cat", "dog", "bird")


@pytest.mark.parametrize("net", ["", "mixup=1", "cutmix=1", "mosaic=1", "mosaic=1 cutmix=1 angle=7 aspect=.75 blur=1"])
def test_classifiers(dataset: Dataset, net: str) -> None:
    names = [sample.image for sample in dataset]
    first, other = (taken(create_classification_loader(classifier(net), names, LABELS, workers=n), 2) for n in (0, 3))
    assert all(map(same, first, other))
    x, classes = first[0].pairs[0]
    assert x.shape == (4, 3, 32, 64)
    assert isinstance(classes, torch.Tensor)
    assert torch.allclose(classes, torch.tensor([0.0, 1.0, 0.0]).expand(4, 3))


def test_labels_of_classifiers(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    names = [sample.image for sample in dataset]
    smooth = create_classification_loader(classifier("label_smooth_eps=.1"), names, LABELS)
    expected = torch.tensor([0.05, 0.9, 0.05]).expand(4, 3)
    assert torch.allclose(torch.as_tensor(taken(smooth, 1)[0].pairs[0][1]), expected)
    odd: Any = create_classification_loader(classifier(), names, ("do", "_d", "bird"))
    assert torch.as_tensor(taken(odd, 3)[0].pairs[0][1]).tolist() == [[1, 1, 0]] * 4
    assert all("expected one label in the path, found do, _d" in r.getMessage() for r in caplog.records)
    assert len(caplog.records) == len(odd.problems) == len({r.getMessage() for r in caplog.records})
    with pytest.raises(DataError, match="2 labels, but the network has 3 classes"):
        create_classification_loader(classifier(), names, LABELS[:2])
    free = create_classification_loader(classifier("unsupervised=1"), names, ())
    assert torch.as_tensor(taken(free, 1)[0].pairs[0][1]).sum(dim=1).tolist() == [1] * 4


@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
def test_classes_without_a_box_are_kept_for_a_class_tree_of_pjreddies(
    tmp_path: pathlib.Path, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\n")
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("3 0 0 0 0\n1 .5 .5 .5 .5\n2 0 0 0 0\n")
    head = f"[region]\nclasses=4\nnum=1\nanchors=1,1\njitter=0\ntree={tmp_path / 'a.tree'}\n"
    text = CFG.format(net="", head=head, filters=9)
    dataset = load_image_list([str(tmp_path / "a.png")])
    loader = create_detection_loader(Network(cfg.loads(text, allow_paths=True), dialect=dialect), dataset)
    targets = taken(loader, 1)[0].pairs[0][1][0]
    kept = sorted(row[4] for row in targets.tolist() if row[:4] == [999999] * 4)
    assert kept == ([2, 3] if dialect == "pjreddie" else [])
    assert len(targets) == len(kept) + 1
    with caplog.at_level("WARNING"):
        labels.log_problems(dataset.problems)
    (message,) = caplog.messages
    assert message.startswith("2 labels have a class and no box: only a class tree in pjreddie's dialect is trained on")
