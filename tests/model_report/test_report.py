"""The page of ``report``: it needs nothing else, and its numbers are those of the files and of other parts."""

from __future__ import annotations

import hashlib
import html.parser
import pathlib
import re
import warnings

import pytest

import darknet_py
from darknet_py import cfg, cli
from darknet_py.demo.digits import write_dataset
from darknet_py.hub import model_files
from darknet_py.model_report.contents import ModelReport
from darknet_py.model_report.page import to_html
from darknet_py.network import Network


class Page(html.parser.HTMLParser):
    """The tables of a page as lists of rows, what its attributes refer to, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.references: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in ("meta", "img"):
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the digits network, a small data set, and the report on both."""
    folder = tmp_path_factory.mktemp("report")
    write_dataset(folder / "data", train=1, valid=6)
    line = ["report", "digits", str(folder / "data" / "digits.data"), "--repeats", "1", "--quiet"]
    assert cli.main([*line, "-o", str(folder / "a.html")]) == 0
    return folder


@pytest.fixture(scope="module")
def page(place: pathlib.Path) -> Page:
    return Page((place / "a.html").read_text("utf-8"))


def table(page: Page, *head: str) -> list[list[str]]:
    """The rows below a head that begins so."""
    return next(rows[1:] for rows in page.tables if tuple(rows[0][: len(head)]) == head)


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_page_needs_no_other_file_and_runs_nothing(page: Page, place: pathlib.Path) -> None:
    text = (place / "a.html").read_text("utf-8")
    assert not page.open
    assert not {"script", "link", "iframe", "object", "form"} & page.tags
    assert all(reference.startswith(("data:image/", "#")) for reference in page.references)
    assert not re.findall(r"url\((?!#)|@import", text)


def test_every_byte_of_the_weights_belongs_to_the_header_or_a_layer(page: Page) -> None:
    network = darknet_py.load("digits")
    rows = table(page, "", "layer")
    header, *layers, total = rows
    size = pathlib.Path(table(page, "file")[1][0]).stat().st_size
    assert number(header[6]) == 20
    assert number(total[6]) == size == 20 + 4 * sum(array.numel() for layer in network for _, array in layer.stored())
    stored = [(number(row[5]), number(row[6])) for row in layers if row[6]]
    assert [first for first, _ in stored] == [20 + sum(size for _, size in stored[:i]) for i in range(len(stored))]
    assert [row[1] for row in layers] == [section.name for section in network.config.sections[1:]]


def test_files_have_their_hashes(page: Page) -> None:
    for path, size, digest in table(page, "file"):
        content = pathlib.Path(path).read_bytes()
        assert (number(size), digest) == (len(content), hashlib.sha256(content).hexdigest())


def test_scores_are_those_of_evaluate(page: Page, place: pathlib.Path) -> None:
    network = darknet_py.load("digits")
    rows = table(page, "mAP")
    for protocol in ("darknet", "voc07"):
        expected = darknet_py.evaluate(network, place / "data" / "digits.data", protocol=protocol, progress=False)
        assert [f"{100 * expected.map:.2f} %", expected.rule] in rows
    assert sum(number(row[1]) for row in table(page, "class")[1:]) == number(table(page, "class")[0][1])


def test_runtimes_find_the_same_boxes(page: Page) -> None:
    rows = {row[0]: row for row in table(page, "program")}
    assert {"torch", "plain"} <= set(rows)
    assert rows["plain"][1] == "0"
    boxes = {row[2] for name, row in rows.items() if not name.startswith(("C ", "opencv"))}
    assert len(boxes) == 1
    found, of = boxes.pop().split(" of ")
    assert found == of != "0"
    assert all(float(row[5]) > 0 for name, row in rows.items() if not name.startswith("C "))


def test_text_of_files_is_no_html() -> None:
    report = ModelReport('<script>alert("1")</script>', problems=["a & b <c>"], unread=["\udcff<i>"])
    text = ascii(to_html(report))  # so that a failure prints what a terminal can show
    assert "<script" not in text
    assert "a &amp; b &lt;c&gt;" in text
    assert r"\\udcff&lt;i&gt;" in text


def test_weights_that_are_no_numbers_are_a_problem(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = darknet_py.load("digits")
    _, array = next(iter(network[0].stored()))
    array.data[0] = float("nan")
    monkeypatch.chdir(tmp_path)
    path = str(model_files.find("digits").cfg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        darknet_py.save_weights(network, "nan.weights", allow_non_finite=True)
        line = ["report", path, "nan.weights", "--allow-non-finite", "--repeats", "1", "--quiet", "-o", "nan.html"]
        assert cli.main(line) == 1
    problem = "layer 0 [convolutional]: 1 NaN and 0 Inf in its weights"
    assert f"wrong  {problem}" in capsys.readouterr().out
    assert problem in pathlib.Path("nan.html").read_text("utf-8")


def test_what_nothing_reads_is_listed_and_noise_is_the_input(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n"
    darknet_py.save_weights(Network(cfg.loads(text)).initialise(), "a.weights")
    pathlib.Path("a.cfg").write_text(text + "foo=3\n")
    assert cli.main(["report", "a.cfg", "a.weights", "--repeats", "1", "--quiet"]) == 0
    page = pathlib.Path("report.html").read_text("utf-8")
    assert "Input: uniform noise in 0..1, seed 0" in page
    unread = page[page.index("What the cfg has and nothing reads") :]
    assert re.match(r"[^<]*</h2>\s*<ul><li>a\.cfg:7: \[convolutional\].*foo", unread)
    assert "<h2>Examples" not in page


def test_runtimes_start_a_recurrent_network_from_the_same_state(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "[net]\ninputs=16\n[rnn]\noutput=8\nhidden=8\nactivation=leaky\n[connected]\noutput=16\nactivation=linear\n"
    pathlib.Path("a.cfg").write_text(text)
    darknet_py.save_weights(Network(cfg.loads(text)).initialise(), "a.weights")
    assert cli.main(["report", "a.cfg", "a.weights", "--repeats", "1", "--quiet", "-o", "a.html"]) == 0
    content = pathlib.Path("a.html").read_text("utf-8")
    rows = [row for table in Page(content).tables for row in table if row[0] in ("torch", "plain")]
    assert len(rows) == 2
    assert all(float(row[1]) < 1e-5 for row in rows)
    assert "the same boxes" not in content  # it has none
