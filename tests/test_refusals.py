"""Error messages, word for word: invalid cfgs, weights files that do not fit, and invalid arguments.

The first line of ``refusals/NAME.cfg`` is the message after ``NAME.cfg:``; with ``# strict`` in the second line the cfg
is read with ``strict=True``.
"""

from __future__ import annotations

import io
import pathlib
import pickle
import re
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch

import darknet_py
from darknet_py import cfg, detector, weights
from darknet_py.errors import ConfigError, DataError, UnusedOptionWarning, WeightsError
from darknet_py.network import Network
from tests.helpers.random_networks import FLOATS, HEADER, TEXT, network, weights_file

CASES = sorted((pathlib.Path(__file__).parent / "refusals").glob("*.cfg"))


def test_the_folder_of_invalid_cfgs_is_not_empty() -> None:
    assert len(CASES) > 50


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_message_of_an_invalid_cfg_is_exact(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_DIRS", "/usr/local/share:/usr/share")
    text = path.read_text(encoding="utf-8")
    expected = path.name + ":" + text.splitlines()[0].removeprefix("# ")
    strict = text.splitlines()[1] == "# strict"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedOptionWarning)
        config = cfg.loads(text, path.name)
        with pytest.raises(ConfigError) as caught:
            Network(config, strict=strict)
    assert str(caught.value) == expected


@pytest.mark.parametrize("path", [path for path in CASES if "# strict" in path.read_text()], ids=lambda path: path.stem)
def test_what_strict_refuses_is_a_warning_otherwise(path: pathlib.Path) -> None:
    with pytest.warns(UnusedOptionWarning):
        Network(cfg.load(path))


def pickled() -> bytes:
    return pickle.dumps({"model": list(range(100))}, protocol=2)


def checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"model": torch.zeros(9)}, file)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.weights", HEADER)
    return file.getvalue()


def floats(count: float) -> bytes:
    return HEADER + np.zeros(400, "<f4").tobytes()[: int(4 * count)]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 24251276\n"
LAST = "layer 3 [connected] rolling_variance"
NO_WEIGHTS = "expected Darknet weights, found "
HEADERS = "; its header may be 4 bytes shorter than that of its version"
OTHERS = "; the weights are of another network, or the file is damaged"

FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a header of 16 or 20 bytes, found 0 bytes"),
    "8 bytes": (b"12345678", "expected a header of 16 or 20 bytes, found 8 bytes"),
    "truncated header": (HEADER[:15], "expected a header of 20 bytes, found 15 bytes"),
    "header only": (
        HEADER,
        "ends in layer 0 [conv] biases: expected 8 bytes, found 0; the file ends where layer 0 begins",
    ),
    "half an array": (floats(20.25), f"ends in layer 0 [conv] weights: expected 72 bytes, found 49{OTHERS}"),
    "between arrays": (floats(2), f"ends in layer 0 [conv] scales: expected 8 bytes, found 0{OTHERS}"),
    "backbone": (
        floats(26),
        "ends in layer 2 [conv] biases: expected 12 bytes, found 0; the file ends where layer 2 begins: "
        "a backbone, load it with upto=2",
    ),
    "one float short": (floats(FLOATS - 1), f"ends in {LAST}: expected 8 bytes, found 4{HEADERS}"),
    "one byte long": (
        floats(FLOATS + 0.25),
        f"expected {4 * FLOATS} bytes of weights, found {4 * FLOATS + 1}: 1 too many after {LAST}, the last array"
        + OTHERS,
    ),
    "one output more": (
        floats(FLOATS + 16),
        f"expected {4 * FLOATS} bytes of weights, found {4 * FLOATS + 64}: 64 too many after {LAST}, the last array; "
        "it would fit with 3 outputs of the last [connected] instead of 2",
    ),
    "zip": (zipped(), f"{NO_WEIGHTS}a zip file, as torch.save writes: is it a PyTorch checkpoint?"),
    "torch": (checkpoint(), f"{NO_WEIGHTS}a zip file, as torch.save writes: is it a PyTorch checkpoint?"),
    "pickle": (pickled(), f"{NO_WEIGHTS}a pickle, as old torch.save writes: is it a PyTorch checkpoint?"),
    "pickle 4": (pickle.dumps(list(range(99)), protocol=4), f"{NO_WEIGHTS}a pickle"),
    "git-lfs": (LFS, f"{NO_WEIGHTS}a git-lfs pointer: run git lfs pull for the file itself"),
    "html": (
        b"\n<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>",
        f"{NO_WEIGHTS}a web page: the download gave an error page instead of the file",
    ),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(60), f"{NO_WEIGHTS}gzip data: unpack it first"),
    "safetensors": (struct.pack("<Q", 60) + b'{"a":{"dtype":"F32"}}' + bytes(60), f"{NO_WEIGHTS}a safetensors file"),
    "cfg": (TEXT.encode(), f"{NO_WEIGHTS}the text of a cfg: are cfg and weights swapped?"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), f"{NO_WEIGHTS}an HDF5 file, as Keras writes"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(60), f"{NO_WEIGHTS}a JPEG image"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("upto", [None, 4])
def test_the_message_of_weights_that_do_not_fit_is_exact(name: str, upto: int | None, tmp_path: pathlib.Path) -> None:
    content, message = FILES[name]
    path = tmp_path / "a.weights"
    path.write_bytes(content)
    if upto and name in ("one byte long", "one output more"):
        weights.load(network(TEXT), path, upto=upto)  # bytes after the first layers are ignored
        return
    with pytest.raises(WeightsError) as caught:
        weights.load(network(TEXT), path, upto=upto)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize("upto", [1, 2])
def test_files_of_other_formats_are_refused_with_upto_too(upto: int, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.conv.2"
    path.write_bytes(checkpoint())
    with pytest.raises(WeightsError, match="found a zip file"):
        weights.load(network(TEXT), path, upto=upto)


HEADS = """
[net]
width=32
height=32
channels=3
[conv]
filters=4
size=3
stride=8
[conv]
filters={filters}
[yolo]
classes={classes}
num=6
mask=0,1,2
[route]
layers=0
[conv]
filters={filters}
size=3
pad=1
[yolo]
classes={classes}
num=6
mask=3,4,5
"""


def heads(classes: int) -> Network:
    return network(HEADS.format(classes=classes, filters=3 * (5 + classes)))


@pytest.mark.parametrize("classes", [1, 3, 4, 20, 80])
def test_the_message_suggests_the_number_of_classes_that_would_fit(classes: int, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.weights"
    weights.save(heads(classes), path)
    with pytest.raises(WeightsError, match=re.escape(f"; it would fit with [yolo] classes={classes}") + "$"):
        weights.load(heads(2), path)


def test_missing_and_unreadable_files_are_refused(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "made.cfg"
    config.write_text(TEXT)
    missing = tmp_path / "none.weights"
    for path, message in ((missing, "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(WeightsError, match=f"^{re.escape(f'{path}: {message}')}$"):
            weights.load(network(TEXT), path)
        with pytest.raises(WeightsError, match=f"^{re.escape(f'{path}: {message}')}$"):
            darknet_py.load(config, path)


def test_swapped_cfg_and_weights_are_recognised(tmp_path: pathlib.Path) -> None:
    config, data = tmp_path / "made.cfg", weights_file(tmp_path / "made.weights", FLOATS)
    config.write_text(TEXT)
    with pytest.raises(ConfigError, match="are cfg and weights swapped"):
        darknet_py.load(data, config)


def test_a_network_without_weights_refuses_a_file_with_weights(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes(floats(1))
    with pytest.raises(
        WeightsError, match="expected 0 bytes of weights, found 4: 4 too many as the network has no weights"
    ):
        weights.load(network("[net]\ninputs=4\n[softmax]\n"), path)


@pytest.mark.parametrize(("count", "message"), [(1, "1 class names"), (3, "3 class names"), (0, "0 class names")])
def test_a_wrong_number_of_class_names_is_refused(count: int, message: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.names"
    path.write_text("".join(f"class {number}\n" for number in range(count)))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {message}, but the network has 2 classes$"):
        detector.Detector(heads(2), names=path)
    with pytest.raises(DataError, match=f"^{message}, but the network has 2 classes$"):
        detector.Detector(heads(2), names=[str(number) for number in range(count)])


def test_an_unreadable_names_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path / 'none'))}: No such file or directory"):
        detector.Detector(heads(2), names=tmp_path / "none")


def test_a_detector_needs_a_head() -> None:
    with pytest.raises(DataError, match="no detection head"):
        detector.Detector(network(TEXT))


@pytest.mark.parametrize("key", ["threshold", "nms"])
@pytest.mark.parametrize("value", [-0.1, 1.5, 45])
def test_thresholds_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(DataError, match=f"^{key}: expected 0..1, got {value}$"):
        detector.Detector(heads(2), **{key: value})  # type: ignore[arg-type]
