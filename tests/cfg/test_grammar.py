"""The grammar of cfg files: texts and the entries they are parsed to."""

from __future__ import annotations

import pathlib
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darknet_py import cfg
from darknet_py.cfg import Config, Entry, Section
from darknet_py.errors import ConfigError

Sections = list[tuple[str, list[tuple[str, str]]]]


def content(config: Config) -> Sections:
    return [(section.name, [(entry.key, entry.value) for entry in section.entries]) for section in config.sections]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[net]\nwidth=32", [("net", [("width", "32")])]),
        ("[net]", [("net", [])]),
        ("  [ ne t ]\t\n wi dth\t= 3 2 ", [("net", [("width", "32")])]),
        ("[net]\nanchors = 10, 13,  16,30", [("net", [("anchors", "10,13,16,30")])]),
        ("[net]\r\nwidth=32\r\n[yolo]\r\n", [("net", [("width", "32")]), ("yolo", [])]),
        ("\ufeff[net]\nwidth=32", [("net", [("width", "32")])]),
        ("# a\n; b\n  # c\n\n[net]\n #width=1\n;width=2\nwidth=3", [("net", [("width", "3")])]),
        ("[net] # first\n[yolo];", [("net", []), ("yolo", [])]),
        ("[net]\nwidth=32 # wide", [("net", [("width", "32#wide")])]),
        ("[net]\nwidth=32 ; wide", [("net", [("width", "32;wide")])]),
        ("[net]\na=b=c", [("net", [("a", "b=c")])]),
        ("[net]\na=", [("net", [("a", "")])]),
        ("[net]\na", [("net", [("a", "")])]),
        ("[net]\n=a", [("net", [("", "a")])]),
        ("[net]\na=1\na=2", [("net", [("a", "1"), ("a", "2")])]),
        ("[net]\nWidth=A b", [("net", [("Width", "Ab")])]),
        ("[Gaussian_yolo]\n[gaussian_yolo]", [("Gaussian_yolo", []), ("gaussian_yolo", [])]),
        ("[net]\nnames=größe", [("net", [("names", "größe")])]),
        ("[net]\n" + "a" * 5000 + "=1", [("net", [("a" * 5000, "1")])]),
    ],
)
def test_text_is_parsed_into_sections_and_entries(text: str, expected: Sections) -> None:
    assert content(cfg.loads(text)) == expected


def test_sections_and_entries_have_line_numbers() -> None:
    config = cfg.loads("# one\r\n\r\n[net]\r\nwidth=1\r\n; five\r\n[yolo]\r\n\r\nmask=0")
    assert [section.line for section in config.sections] == [3, 6]
    assert [entry.line for section in config.sections for entry in section.entries] == [4, 8]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.cfg: expected a cfg that starts with [net], found no section"),
        ("# only\n; comments\n", "x.cfg: expected a cfg that starts with [net], found no section"),
        ("\nwidth=1\n[net]", "x.cfg:2: expected a section such as [net] first, got 'width=1'"),
        ("[net]\n[yolo", "x.cfg:2: expected [section], got '[yolo'"),
        ("[net]\n\n[]", "x.cfg:3: expected [section], got '[]'"),
        ("[net] yes", "x.cfg:1: expected [section], got '[net]yes'"),
        ("<html><body>404", "x.cfg:1: expected a section such as [net] first, got '<html><body>404'"),
    ],
)
def test_text_that_is_not_a_cfg_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        cfg.loads(text, "x.cfg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"\0\0\0\0\2\0\0\0\5\0\0\0", "expected the text of a cfg, found binary data (are cfg and weights swapped?)"),
    ],
)
def test_files_that_are_not_a_cfg_are_refused(content: bytes | None, message: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.cfg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{path}: {message}')}$"):
        cfg.load(path)


def test_a_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path))):
        cfg.load(tmp_path)


def test_bytes_that_are_not_utf_8_are_kept(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_bytes(b"[net]\n# gr\xf6\xdfe\nnames=gr\xf6\xdfe\nwidth=1")
    config = cfg.load(path)
    assert config.path == str(path)
    assert config.text.encode("utf-8", "surrogateescape") == path.read_bytes()
    assert content(config)[0][1][0] == ("names", "gr\udcf6\udcdfe")


def test_configs_are_equal_if_their_entries_are() -> None:
    assert cfg.loads("[net]\nwidth=1", "a.cfg") == cfg.loads("# b\n[net] \n\n width = 1\n", "b.cfg")


WORD = st.text(string.ascii_letters + string.digits + "_-.,#;äß", min_size=1, max_size=12)
KEY = WORD.filter(lambda word: word[0] not in "#;")
VALUE = st.one_of(WORD, st.lists(st.integers(-999, 999), min_size=1, max_size=5).map(lambda n: ",".join(map(str, n))))
ENTRIES = st.lists(st.builds(Entry, KEY, st.one_of(VALUE, st.just(""))), max_size=8).map(tuple)
SECTIONS = st.lists(st.builds(Section, WORD.filter(lambda word: "]" not in word), ENTRIES), min_size=1, max_size=8)


@given(SECTIONS)
def test_dumps_and_loads_round_trip(sections: list[Section]) -> None:
    config = Config(tuple(sections))
    assert cfg.loads(cfg.dumps(config)) == config


@given(SECTIONS, st.randoms(use_true_random=False))
def test_whitespace_and_comments_are_ignored(sections: list[Section], rng: object) -> None:
    config = Config(tuple(sections))
    lines = []
    for line in cfg.dumps(config).splitlines():
        blank = rng.choice(["", " ", "\t", "  \t"])  # type: ignore[attr-defined]
        comment = rng.choice(["", "#a=1", " ;[b]"])  # type: ignore[attr-defined]
        lines += [blank + blank.join(line) + blank + "\r", comment]
    assert cfg.loads("\n".join(lines)) == config
