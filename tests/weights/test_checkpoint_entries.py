"""Damaged and hostile checkpoints: every outcome is a network or a CheckpointError that names the entry."""

from __future__ import annotations

import copy
import json
import pathlib
import pickle
import random
import struct
import time
import zipfile
from collections.abc import Iterator, MutableMapping, MutableSequence
from typing import Any

import pytest
import torch

import darknet_py
from darknet_py.errors import CheckpointError, ConfigError
from darknet_py.network import Network
from darknet_py.training import checkpoints
from darknet_py.training.trainer import Trainer
from darknet_py.weights import checkpoint, containers, schema
from tests.helpers import random_networks
from tests.helpers.weights_files import HEAD, TRAINED

OTHER_TYPES: tuple[Any, ...] = (
    None,
    True,
    -1,
    7,
    2**70,
    0.5,
    float("nan"),
    "text",
    "",
    b"bytes",
    [],
    [1, "a"],
    (),
    {},
    {"a": {}},
    {1: 2},
    torch.zeros(3),
    torch.zeros(0, dtype=torch.complex64),
    torch.zeros(2).to_sparse(),
    torch.ones(2, dtype=torch.int64),
)


def network(text: str = HEAD) -> Network:
    return random_networks.network(text, path="a.cfg")


def save_state(path: str) -> None:
    """Write the state of a training run."""
    net = network(TRAINED)
    trainer = Trainer(net)
    writer = checkpoints.CheckpointWriter(".", "a")
    writer.save_state(net, trainer.state_dict(), checkpoints.Progress(0.5, 0.25, 1, 2), 3, {}, {})
    writer.state.rename(path)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value."""
    if path:
        yield path
    if isinstance(content, dict):
        for key in content:
            yield from places(content[key], (*path, key))
    elif isinstance(content, list | tuple) and not (path[-1] == 1 and "rng" in path):
        for index in range(len(content)):
            yield from places(content[index], (*path, index))


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of the content with another value in a place."""
    if not path:
        return value
    result: MutableMapping[Any, Any] | MutableSequence[Any] = copy.copy(content)
    if isinstance(content, tuple):
        result = list(content)
    result[path[0]] = replaced(content[path[0]], path[1:], value)
    return tuple(result) if isinstance(content, tuple) else result


def test_each_entry_of_a_checkpoint_changed_to_other_types_is_an_error() -> None:
    net = network()
    net.names = ("cat", "dog")
    content = checkpoint.to_entries(checkpoint.create(net))
    loaded = []
    for path in places(content):
        for value in OTHER_TYPES:
            changed = replaced(content, path, value)
            try:
                read = checkpoint.from_entries(changed, "a.pt")
                checkpoint.fill(checkpoint.build(read, "a.pt"), read, "a.pt")
            except (CheckpointError, ConfigError) as error:
                message = str(error)
            else:
                loaded.append(path[0])
                continue
            assert message.startswith("a.pt:")
            assert ".".join(map(str, path[1:])) in message.replace("[", ".").replace("]", ""), (path, value)
    # What may be anything, or another value of its type.
    assert set(loaded) == {"package", "cfg_name", "seen", "version", "names", "files", "plugins", "layers"}


def test_each_entry_of_a_training_state_changed_to_other_types_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_state("a.state.pt")
    content = torch.load("a.state.pt", weights_only=True)
    cases = [(path, value) for path in places(content) for value in OTHER_TYPES]
    changed: Any = None
    monkeypatch.setattr(containers, "read", lambda path: changed)
    outcomes = {"error": 0, "loaded": 0}
    for path, value in random.Random(1).sample(cases, 400):
        changed = replaced(content, path, value)
        trainer = Trainer(network(TRAINED))
        try:
            state = checkpoints.read_state("a.state.pt")
            state.restore_network(trainer.network, "a.state.pt")
            trainer._restore(state, pathlib.Path("a.state.pt"))
            outcomes["loaded"] += 1
        except CheckpointError:
            outcomes["error"] += 1
    assert outcomes["error"] > 300


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("version", [0, "2", 5], r"entry version\[1\]: expected an integer below 2\*\*64, found a value of type str"),
        ("version", [0, 2], "entry version: expected 3 values, found 2"),
        ("version", [0, 2, 2**40], "entry version: expected integers of 32 bits"),
        ("seen", -1, "entry seen: expected 0 or more, found -1"),
        ("layers", 2, "entry layers: expected more than 3, the last layer in state_dict, found 2"),
        ("dialect", "other", "entry dialect: expected alexeyab or pjreddie, found other"),
        ("state_dict", [], "entry state_dict: expected a dict, found a value of type list"),
        ("names", None, "entry names: expected a list, found None"),
        ("cfg", None, "entry cfg: expected text, found None"),
    ],
)
def test_errors_name_the_entry(entry: str, value: Any, message: str) -> None:
    content = checkpoint.to_entries(checkpoint.create(network()))
    containers.write("a.pt", content | {entry: value})
    with pytest.raises(CheckpointError, match=f"^a.pt: {message}"):
        darknet_py.load("a.pt")


def test_errors_name_a_nested_entry() -> None:
    content = checkpoint.to_entries(checkpoint.create(network()))
    content["state_dict"]["layers.0.biases"] = 5
    containers.write("a.pt", content)
    with pytest.raises(CheckpointError, match=r"entry state_dict.layers.0.biases: expected a dense real tensor"):
        darknet_py.load("a.pt")
    with pytest.raises(CheckpointError, match=r"x: entry a\[1\]: expected a number or None, found a value of type str"):
        schema.check([0.5, "b"], tuple[float | None, ...], "x", "a")


def test_metadata_of_safetensors_is_checked_alike() -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="the extra safetensors is not installed")
    darknet_py.save(network(), "a.safetensors")
    content = containers.read("a.safetensors")
    for entry, value in (("version", "[0, 2"), ("seen", "many"), ("layers", "null"), ("names", "{}"), ("files", "3")):
        plain = {key: containers._to_text(item) for key, item in content.items() if key != "state_dict"}
        safetensors.save_file(content["state_dict"], "b.safetensors", plain | {entry: value})
        with pytest.raises(CheckpointError, match=f"^b.safetensors: entry {entry}: expected"):
            darknet_py.load("b.safetensors")
    safetensors.save_file(content["state_dict"], "b.safetensors", plain | {"seen": "[" * 100_000})
    with pytest.raises(CheckpointError, match="entry seen"):
        darknet_py.load("b.safetensors")


def lists_of_lists(levels: int) -> list[Any]:
    """Return a list that contains the one before it twice, so that its text doubles with each level."""
    content: list[Any] = []
    for _ in range(levels):
        content = [content, content]
    return content


def test_shared_lists_of_exponential_length_do_not_hang() -> None:
    started = time.monotonic()
    for entries in ({"format": lists_of_lists(60)}, {"format": "darknet_py 1", "cfg": lists_of_lists(60)}, {"a": 1}):
        torch.save(entries, "a.pt")
        with pytest.raises(CheckpointError):
            darknet_py.load("a.pt")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("zipped", [True, False])
def test_keys_whose_hash_takes_forever_are_refused(zipped: bool) -> None:
    # The tuple as a dict key, with opcodes, since making it here would take forever as well.
    levels = b"".join(b"h%ch%c\x86q%c" % (level, level, level + 1) for level in range(60))
    data = b"\x80\x02})q\x00" + levels + b"K\x01s."
    if zipped:
        with zipfile.ZipFile("a.pt", "w") as archive:
            archive.writestr("a/data.pkl", data)
            archive.writestr("a/version", "3\n")
    else:
        pathlib.Path("a.pt").write_bytes(data)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match="a tuple of more than 1000000 values"):
        darknet_py.load("a.pt")
    assert time.monotonic() - started < 10


def test_compressed_and_overlapping_entries_are_refused() -> None:
    darknet_py.save(network(), "a.pt")
    with zipfile.ZipFile("a.pt") as archive, zipfile.ZipFile("b.pt", "w", zipfile.ZIP_DEFLATED) as other:
        for entry in archive.infolist():
            other.writestr(entry.filename, archive.read(entry))
        other.writestr("a/data/99", bytes(50_000_000))
    with pytest.raises(CheckpointError, match="expected entries without compression"):
        darknet_py.load("b.pt")


def test_an_entry_that_ends_after_the_file_is_refused() -> None:
    with zipfile.ZipFile("a.pt", "w") as archive:
        archive.writestr("a/padding", bytes(9000))
        archive.writestr("a/data.pkl", b"\x80\x02B\xff\x1f\0\0")  # BINBYTES: 8191 bytes follow
        padding, entry = archive.infolist()
        padding.file_size = padding.compress_size = 0  # of the directory, which is written last
        entry.file_size = entry.compress_size = 8198
    # From Python 3.13 on the zipfile module finds it.
    with pytest.raises(CheckpointError, match=r"an entry is cut off|Overlapped entries"):
        darknet_py.load("a.pt")


def test_storages_that_are_shorter_than_they_claim_are_refused() -> None:
    torch.save({"format": "darknet_py 1", "a": torch.zeros(3)}, "a.pt")
    content = pathlib.Path("a.pt").read_bytes()
    number = content.index(b"cpuq") + 5
    assert content[number - 1 : number + 3].count(b"K\x03") == 1
    at = content.index(b"K\x03", number - 1)
    claimed = bytearray(content)
    claimed[at : at + 2] = b"K\xff"  # 255 floats
    pathlib.Path("b.pt").write_bytes(claimed)
    with pytest.raises(CheckpointError):
        darknet_py.load("b.pt")


def test_a_safetensors_header_that_claims_too_much_is_refused() -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    for content in (struct.pack("<Q", 2**60), struct.pack("<Q", len(header)) + header, b""):
        pathlib.Path("a.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match="expected a safetensors file, found a damaged or other file"):
            darknet_py.load("a.safetensors")


def test_folders_and_names_that_cannot_exist_are_an_error() -> None:
    pathlib.Path("a.pt").mkdir()
    for name, message in (("a.pt", "expected a regular file"), ("b.pt", "No such file"), ("a\0.pt", "null")):
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load(name)


def test_no_pickle_is_executed() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return pathlib.Path.touch, (pathlib.Path("executed"),)

    torch.save({"format": Evil()}, "a.pt")
    pathlib.Path("b.pt").write_bytes(pickle.dumps({"format": Evil()}))
    for path in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError, match="would run code"):
            darknet_py.load(path)
    assert not pathlib.Path("executed").exists()
