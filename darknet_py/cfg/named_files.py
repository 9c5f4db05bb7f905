"""Find the files that a cfg names (``tree=``, ``map=``)."""

from __future__ import annotations

import os
import pathlib

from ..errors import shorten
from ..text_files import system_folders
from . import Config

_LARGEST_FILE = 16 * 2**20


def find_file(name: pathlib.Path, config: Config) -> pathlib.Path:
    """Return the path of a file that a cfg names.

    Darknet looks in the working directory only, and official cfgs name files such as data/9k.tree. Here the folder of
    the cfg, its parent, the working directory and Debian's /usr/share/darknet are searched, for the path and then for
    the file's name alone, there and in their ``data``. A cfg may come from anyone: it reaches no other folder, no
    device and no huge file.
    """
    if str(name) in config.files:
        return config.files[str(name)]
    cfg_folder = pathlib.Path(config.path).parent
    folders = (cfg_folder, cfg_folder.parent, pathlib.Path(), *system_folders())
    candidates = list(dict.fromkeys(folder / name for folder in folders))
    by_name = [folder / place / name.name for folder in folders for place in ("", "data") if name.name]
    path = next((path for path in (*candidates, *by_name) if os.path.exists(path)), None)
    if path is None:
        searched = ", ".join(map(str, candidates))
        raise ValueError(
            f"file {shorten(str(name))} not found (searched {searched}; its name alone there and in data/)"
        )
    if not path.is_file():
        raise ValueError(f"expected a regular file, {path} is none")
    if (size := path.stat().st_size) > _LARGEST_FILE:
        raise ValueError(f"expected a file of at most {_LARGEST_FILE:,} bytes, {path} has {size:,}")
    if not config.allow_paths and not any(_contains(folder, path) for folder in folders):
        raise ValueError(
            f"{path} lies outside of the cfg's folder, the one above, the working directory and "
            "$XDG_DATA_DIRS/darknet; allow it with --allow-paths (allow_paths=True)"
        )
    return path


def _contains(folder: pathlib.Path, path: pathlib.Path) -> bool:
    """Whether a file is below a folder, links resolved; the root of the file system contains no file."""
    resolved = folder.resolve()
    return resolved != pathlib.Path(resolved.anchor) and path.resolve().is_relative_to(resolved)
