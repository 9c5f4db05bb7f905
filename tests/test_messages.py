"""What messages show of names, paths and files of others."""

from __future__ import annotations

import json
import logging
import pathlib
import pickle

import pytest

from darknet_py import DarknetError, cfg
from darknet_py.cli import main
from darknet_py.data.formats import load_dataset
from darknet_py.data.labels import Problem, log_problems
from darknet_py.errors import ConfigError, DataError, UnusedOptionWarning
from darknet_py.images.reading import read_image
from darknet_py.messages import describe_text, escape_controls, get_logger

_CONTROLS = "\x1b]0;x\x07\x9b2J\r\u202egpj.\u2069"
_ESCAPED = r"\x1b]0;x\x07\u009b2J\x0d\u202egpj.\u2069"


def test_control_characters_are_escaped_and_others_are_not() -> None:
    assert escape_controls(_CONTROLS) == _ESCAPED
    assert escape_controls("gr\udcfcn.png") == r"gr\udcfcn.png"  # a byte of a name that is not UTF-8
    plain = "tab\tline\n\u05d0\u0634\u4e2d\U0001f415\u200d\\x1b"
    assert escape_controls(plain) == plain


def test_the_escapes_of_printed_json_are_those_of_json() -> None:
    name = "".join(map(chr, [*range(0xA0), 0x2028, 0x2029, 0x202E, 0x2066]))
    for ascii_only in (True, False):
        assert json.loads(escape_controls(json.dumps(name, ensure_ascii=ascii_only))) == name


def test_errors_and_warnings_escape_what_they_name(tmp_path: pathlib.Path) -> None:
    name = f"{_CONTROLS}.jpg"
    with pytest.raises(DataError) as caught:
        read_image(str(tmp_path / name))
    assert str(caught.value) == f"{tmp_path}/{_ESCAPED}.jpg: No such file or directory"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(ConfigError) as config:
        cfg.loads("[net", _CONTROLS)
    assert str(config.value).startswith(f"{_ESCAPED}:1: ")
    assert str(UnusedOptionWarning(_CONTROLS)) == _ESCAPED
    assert str(Problem(_CONTROLS, "broken")) == f"{_ESCAPED}: broken"


def test_loggers_escape_what_they_name(caplog: pytest.LogCaptureFixture) -> None:
    log_problems([Problem(_CONTROLS, "broken")])
    get_logger("darknet_py.anything").warning("%s has %d", _CONTROLS, 3)
    assert caplog.messages == [f"{_ESCAPED}: broken", f"{_ESCAPED} has 3"]


def test_every_logger_of_the_package_escapes() -> None:
    package = pathlib.Path(cfg.__file__).parents[1]
    direct = [path.name for path in package.rglob("*.py") if "= logging.getLogger" in path.read_text(encoding="utf-8")]
    assert direct == ["messages.py"]
    assert logging.getLogger("darknet_py.data.labels").filters


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("0.25", "'0.25'"),
        (" -3\n", "'-3'"),
        ("1e-3", "'1e-3'"),
        ("4111111111111111", "a word of 16 characters"),
        ("hunter2", "a word of 7 characters"),
        ("x", "a word of 1 character"),
        ("0 .5 .5 x .1", "5 words, 4 of them numbers"),
        ("", "0 words, 0 of them numbers"),
    ],
)
def test_text_of_files_is_described_and_not_shown(text: str, described: str) -> None:
    assert describe_text(text) == described


_SECRET = "password=hunter2"


@pytest.fixture
def secret(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A file that the data sets of the tests name."""
    path = tmp_path / "secret"
    path.write_text(f"{_SECRET}\nnameserver {_SECRET}.local 7\n127.0.0.1 {_SECRET}.org\n{_SECRET}.jpgs\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    return path


def _link(secret: pathlib.Path, name: str) -> None:
    path = secret.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(secret)


@pytest.mark.parametrize(
    "text", ["valid=secret", "train=list\nvalid=list\nlabels=secret", "valid=list\nnames=secret\nmap=secret\n"]
)
def test_files_that_a_data_file_names_are_not_shown(
    secret: pathlib.Path, text: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret.with_name("list").write_text("a.jpg\n")
    secret.with_name("d.data").write_text(text)
    assert main(["check", "d.data"]) == 1
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err + caplog.text


@pytest.mark.parametrize("kind", ["data", "yaml", "names"])
def test_lists_and_label_files_are_not_shown(
    secret: pathlib.Path, kind: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    _link(secret, "a.txt")
    _link(secret, "linked.txt")
    secret.with_name("list").write_text("a.jpg\n")
    for list_file in ("list", "linked.txt"):
        secret.with_name("d.data").write_text(f"valid={list_file}\nclasses={_SECRET}\n")
        secret.with_name("d.yaml").write_text(f"val: {list_file}\nnames: [a]\n")
        assert main(["check", "d.yaml" if kind == "yaml" else "d.data"]) == 1
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err + caplog.text


def test_a_data_file_itself_is_not_shown(secret: pathlib.Path) -> None:
    secret.write_text("hunter2 secret\n")
    _link(secret, "d.data")
    with pytest.raises(DarknetError, match=r"^d.data:1: expected `key = value`, got 2 words, 0 of them numbers$"):
        load_dataset("d.data")


@pytest.mark.parametrize("part", ["ImageSets/Main/val.txt", "Annotations/a.xml"])
def test_files_of_a_voc_folder_are_not_shown(
    secret: pathlib.Path, part: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (secret.parent / "voc" / folder).mkdir(parents=True)
    _link(secret, f"voc/{part}")
    assert main(["check", "voc"]) == 1
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err + caplog.text
