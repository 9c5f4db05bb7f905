"""Files that a cfg names: where they may be, and what errors say of their content."""

from __future__ import annotations

import os
import pathlib
import re

import pytest

import darknet_py
from darknet_py import cfg
from darknet_py.cli import main
from darknet_py.errors import ConfigError, DarknetError
from darknet_py.network import Network

TREE = "a -1\nb -1\n"
SECRET = "PASSWORD=hunter2"


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with the folders project/cfg, project/data, elsewhere, share/darknet; the working directory is work."""
    for name in ("project/cfg", "project/data", "elsewhere", "share/darknet", "work"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    return tmp_path


def network(folder: pathlib.Path, tree: str | os.PathLike[str], **options: bool) -> Network:
    path = folder / "project/cfg/a.cfg"
    path.write_text(f"[net]\ninputs=2\n[softmax]\ntree={os.fspath(tree)}\n")
    return Network(cfg.load(path, **options))


@pytest.mark.parametrize("place", ["project/cfg", "project/data", "project", "work", "share/darknet"])
def test_a_file_near_the_cfg_is_read(folder: pathlib.Path, place: str) -> None:
    (folder / place / "x.tree").write_text(TREE)
    assert network(folder, folder / place / "x.tree").class_tree is not None


@pytest.mark.parametrize("place", ["project/cfg", "project/data", "work", "work/data", "share/darknet/data"])
@pytest.mark.parametrize("name", ["x.tree", "data/x.tree", "/usr/lib/darknet/data/x.tree"])
def test_a_file_of_darknets_is_found_by_its_name(folder: pathlib.Path, place: str, name: str) -> None:
    """As 9k.tree of yolo9000.cfg: Debian's cfg has an absolute path, pjreddie's a folder that a copy may lack."""
    (folder / place).mkdir(exist_ok=True, parents=True)
    (folder / place / "x.tree").write_text(TREE)
    assert network(folder, name).class_tree is not None


@pytest.mark.parametrize("name", ["{}/elsewhere/x.tree", "../../elsewhere/x.tree", "link.tree", "linked/x.tree"])
def test_a_file_elsewhere_needs_permission(folder: pathlib.Path, name: str) -> None:
    (folder / "elsewhere/x.tree").write_text(TREE)
    (folder / "project/cfg/link.tree").symlink_to(folder / "elsewhere/x.tree")
    (folder / "project/cfg/linked").symlink_to(folder / "elsewhere")
    with pytest.raises(ConfigError, match=r"a.cfg:4: \[softmax\] tree: .*x?.tree lies outside of the cfg's folder"):
        network(folder, name.format(folder))
    assert network(folder, name.format(folder), allow_paths=True).class_tree is not None


def test_the_permission_is_a_keyword_and_an_option(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "elsewhere/x.tree").write_text(TREE)
    with pytest.raises(ConfigError):
        network(folder, folder / "elsewhere/x.tree")
    path = folder / "project/cfg/a.cfg"
    with pytest.raises(ConfigError, match="--allow-paths"):
        darknet_py.load(path)
    assert darknet_py.load(path, allow_paths=True).class_tree is not None
    assert main(["check", str(path)]) == 1
    assert "--allow-paths" in capsys.readouterr().err
    assert main(["check", str(path), "--allow-paths"]) == 0


def test_only_regular_files_of_limited_size_are_read(folder: pathlib.Path) -> None:
    os.mkfifo(folder / "project/cfg/fifo")
    with pytest.raises(ConfigError, match=r"expected a regular file, .*fifo is none"):
        network(folder, "fifo", allow_paths=True)
    with pytest.raises(ConfigError, match="expected a regular file, /dev/zero is none"):
        network(folder, "/dev/zero", allow_paths=True)
    with open(folder / "project/cfg/large", "wb") as file:
        file.truncate(16 * 2**20 + 1)
    with pytest.raises(ConfigError, match=r"expected a file of at most 16,777,216 bytes, .*large has 16,777,217"):
        network(folder, "large")


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="needs /proc")
def test_the_environment_is_not_shown(folder: pathlib.Path) -> None:
    for allowed in (False, True):
        with pytest.raises(DarknetError) as error:
            network(folder, "/proc/self/environ", allow_paths=allowed)
        assert "PATH" not in str(error.value).replace("--allow-paths", "")


@pytest.mark.parametrize("section", ["[softmax]\ntree=x", "[region]\nclasses=2\nnum=1\ntree=t\nmap=x"])
def test_no_error_quotes_the_content_of_a_named_file(folder: pathlib.Path, section: str) -> None:
    (folder / "work/x").write_text(f"{SECRET}\n")
    (folder / "work/t").write_text(TREE)
    text = f"[net]\nwidth=2\nheight=2\nchannels=7\n[route]\nlayers=-1\n{section}\n"
    with pytest.raises(DarknetError, match=r"^a.cfg:7: layer 1 .* x:1: expected .*, found other text$") as error:
        Network(cfg.loads(text, "a.cfg"))
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mb.cfg", r"a\x1b[31mb.cfg"),
        ("a\x9b2Jb.cfg", r"a\u009b2Jb.cfg"),
        ("a\x07b.cfg", r"a\x07b.cfg"),
        ("a\x7fb.cfg", r"a\u007fb.cfg"),
        ("a\u202eb.cfg", r"a\u202eb.cfg"),
    ],
)
def test_control_characters_of_names_are_escaped_on_the_terminal(
    folder: pathlib.Path, name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "work" / name).write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[con\x1b[2Jv]\n")
    assert main(["check", name]) == 1
    captured = capsys.readouterr()
    (folder / "work" / name).write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[dropout]\n")
    assert main(["check", name]) == 0
    printed = captured.out + captured.err + capsys.readouterr().out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", printed)
    assert shown in printed
