"""Files are written completely or not at all, and what else a name stands for is kept."""

from __future__ import annotations

import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from darknet_py import files, locks
from darknet_py.errors import DataError, WeightsError
from darknet_py.files import atomic_write, check_outputs, temporary_folder
from tests.helpers.full_disk import full_disk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and locks of POSIX")

_WRITE_SLOWLY = """
import sys, time
from darknet_py.files import atomic_write, temporary_folder
with temporary_folder(sys.argv[1]) as folder, atomic_write(sys.argv[1] + "/a.bin") as file:
    (folder / "part").write_bytes(b"1")
    print("writing", flush=True)
    time.sleep(60)
"""


def _write(path: pathlib.Path | str, content: bytes = b"new") -> None:
    with atomic_write(path) as file:
        file.write(content)


def test_the_file_is_replaced_at_the_end_of_the_block(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_write(target, "w") as file:
        file.write("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_keeps_the_old_file_and_removes_the_temporary_one(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write() -> None:
        with atomic_write(target) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_error_names_the_file_in_a_missing_folder(tmp_path: pathlib.Path) -> None:
    with (
        pytest.raises(WeightsError, match=r"no/a\.txt: No such file or directory"),
        atomic_write(tmp_path / "no" / "a.txt", error=WeightsError),
    ):
        pass


def test_a_name_with_a_nul_character_is_one_sentence() -> None:
    with pytest.raises(DataError, match="expected a file name, found a NUL character"):
        _write("a\0b")


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(umask: int, expected: int, tmp_path: pathlib.Path) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == expected


def test_the_umask_of_the_process_is_not_changed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("other threads would create files with this umask"))
    with atomic_write(tmp_path / "a", "w", encoding="utf-8") as file:
        file.write("é")
    assert (tmp_path / "a").read_bytes() == "é".encode()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_an_existing_file_keeps_its_mode_and_is_private_until_then(mode: int, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a"
    target.touch()
    target.chmod(mode)
    with atomic_write(target) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_an_existing_file_keeps_its_owner(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a"
    target.touch()
    os.chown(target, 1234, 2345)
    _write(target)
    assert target.read_bytes() == b"new"
    assert (target.stat().st_uid, target.stat().st_gid) == (1234, 2345)


def test_a_file_whose_owner_cannot_be_set_is_overwritten(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"a longer content")
    inode = target.stat().st_ino
    monkeypatch.setattr(files, "_copy_owner", lambda *_: False)
    _write(target)
    assert (target.read_bytes(), target.stat().st_ino) == (b"new", inode)


def test_a_write_protected_file_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError, match="a: the file is write-protected"):
        _write(target)
    assert target.read_bytes() == b"old"


def test_symbolic_links_are_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "first").symlink_to("far/second")
    (tmp_path / "far" / "second").symlink_to("file")
    for content in (b"a new file", b"its replacement"):
        _write(tmp_path / "first", content)
        assert (tmp_path / "far" / "file").read_bytes() == content
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "far" / "second").is_symlink()
    assert sorted(os.listdir(tmp_path / "far")) == ["file", "second"]


def test_a_link_to_itself_is_an_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(DataError, match="symbolic links"):
        _write(tmp_path / "a")


def test_all_names_of_a_file_show_the_new_content(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"a longer content")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    _write(tmp_path / "a")
    assert (tmp_path / "b").read_bytes() == b"new"
    assert (tmp_path / "a").samefile(tmp_path / "b")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate")
def test_a_full_disk_leaves_a_file_of_several_names(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").hardlink_to(tmp_path / "a")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(DataError, match="a: No space left on device"):
        _write(tmp_path / "a", b"much more than before")
    assert (tmp_path / "b").read_bytes() == b"old"


def test_devices_are_written_to() -> None:
    _write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_pipes_are_written_to(tmp_path: pathlib.Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    _write(pipe)
    reader.join(10)
    assert received == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_standard_output_is_written_to_where_it_is_a_file(tmp_path: pathlib.Path) -> None:
    code = "from darknet_py.files import atomic_write\nwith atomic_write('/dev/stdout') as file: file.write(b'new')"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
        assert os.path.samestat(os.fstat(out.fileno()), os.stat(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_durable_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def record(name: str, function: Callable[..., None]) -> None:
        def call(*args: object) -> None:
            calls.append(name)
            function(*args)

        monkeypatch.setattr(os, name, call)

    record("fsync", os.fsync)
    record("replace", os.replace)
    with atomic_write(tmp_path / "a", durable=True) as file:
        file.write(b"new")
    assert calls == ["fsync", "replace", "fsync"]
    _write(tmp_path / "a")
    assert calls == ["fsync", "replace", "fsync", "replace"]


def test_a_full_disk_is_one_sentence(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with full_disk(100), pytest.raises(DataError, match=r"a: File too large"):
        _write(tmp_path / "a", bytes(101))
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not locks.HAS_LOCKS, reason="no locks")
def test_files_of_a_killed_process_are_removed_by_the_next_and_those_of_a_running_one_are_not(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_searched", set())
    command = [sys.executable, "-c", _WRITE_SLOWLY, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _write(tmp_path / "b.bin")
        assert len(os.listdir(tmp_path)) == 3
        process.send_signal(signal.SIGKILL)
    assert len(os.listdir(tmp_path)) == 3
    files._searched.clear()
    _write(tmp_path / "b.bin")
    assert os.listdir(tmp_path) == ["b.bin"]


@pytest.mark.parametrize("name", [".darknet_py-1.tmp", ".darknet_py-0123456789abcdef.tmp.txt", "a.tmp"])
def test_other_files_are_not_removed(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_searched", set())
    (tmp_path / name).touch()
    with temporary_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == [name]


def test_a_name_of_255_bytes_can_be_written(tmp_path: pathlib.Path) -> None:
    _write(tmp_path / ("a" * 255))
    assert os.listdir(tmp_path) == ["a" * 255]


@pytest.mark.parametrize("link", ["same", "symlink", "hardlink", "relative"])
def test_an_output_that_is_an_input_is_refused(link: str, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "image.png"
    source.write_bytes(b"old")
    output = source if link == "same" else tmp_path / "out.png"
    if link == "symlink":
        output.symlink_to(source)
    if link == "hardlink":
        output.hardlink_to(source)
    if link == "relative":
        output = tmp_path / ".." / tmp_path.name / "image.png"
    with pytest.raises(DataError, match=r"would replace the input .*image\.png"):
        check_outputs([output], [tmp_path / "absent", source])


@pytest.mark.parametrize(
    "url", ["https://host/a.json", "s3://bucket/a.json", "file:///tmp/a.json", "https:/host/a.json"]
)
def test_urls_are_no_outputs(url: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (_write, files.create_folder, lambda path: check_outputs([path], [])):
        with pytest.raises(DataError, match=rf"^{url}: expected a local file or folder to write, found a URL"):
            write(url)
    assert not list(tmp_path.iterdir())


def test_two_outputs_of_one_name_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="named as two outputs"):
        check_outputs([tmp_path / "a.json", tmp_path / "link" / "a.json"], [])


def test_devices_and_new_files_are_no_inputs(tmp_path: pathlib.Path) -> None:
    check_outputs(["/dev/null", "/dev/null", None, tmp_path / "a", tmp_path], ["/dev/null", None, tmp_path, "a\0b"])
