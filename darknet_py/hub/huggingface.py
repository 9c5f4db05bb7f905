"""Models on the Hugging Face Hub: ``hf://owner/repo[@revision][/file]``.

They are read through huggingface_hub, with its cache and its settings: ``HF_ENDPOINT``, ``HF_HOME``, ``HF_TOKEN``,
``HF_HUB_OFFLINE``. If the Hub cannot be reached, files in the cache are used. A model is a checkpoint as ``push`` and
``save`` write them, or a .weights file with its .cfg. Of a file, nothing but tensors and plain values is ever loaded.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .._typing import StrPath
from .._version import __version__
from ..errors import DarknetError, did_you_mean, list_first
from ..messages import get_logger

MODEL_FILE = "model.safetensors"  # the checkpoint of a repository, as others name theirs
_ADDRESS = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:@([^/@]+))?(?:/(.+))?")  # one slash: of a pathlib.Path
_EXPECTED = "expected hf://owner/repo, hf://owner/repo@revision or hf://owner/repo/file"
_PICKLES = (".pt", ".pth", ".ckpt")
_CHECKPOINTS = (".safetensors", *_PICKLES)
_OWN_FORMAT = "darknet_py"  # beginning of the entry ``format``, see ``weights.checkpoint``
_SHOWN = 5  # files that a message lists
_TIMEOUT = 10.0  # seconds
_log = get_logger(__name__)


@dataclass(frozen=True)
class Address:
    """The parts of ``hf://owner/repo@revision/file``; ``revision`` is a branch, tag or commit."""

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repo}{revision}" + (f"/{self.file}" if self.file else "")


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model in a repository: a checkpoint or a cfg, and for a cfg weights and class names, if any."""

    cfg: str
    weights: str | None = None
    names: str | None = None


def is_address(model: StrPath) -> bool:
    """Whether ``model`` is on the Hub: it begins with ``hf:/``."""
    return os.fspath(model).startswith("hf:/")


def parse(model: StrPath) -> Address:
    """Parse an address. Raises DarknetError."""
    match = _ADDRESS.fullmatch(os.fspath(model))
    if match is None:
        raise DarknetError(f"{os.fspath(model)}: not a model on the Hugging Face Hub: {_EXPECTED}")
    repo, revision, file = match.groups()
    return Address(repo, None if revision is None else urllib.parse.unquote(revision), file)


def fetch(model: StrPath, *, with_weights: bool = True, progress: bool = True) -> ModelFiles:
    """Download the files of a model that are not in the cache, and return their paths.

    Args:
        model: the address.
        with_weights: also the weights; otherwise, of a repository with a .cfg, no checkpoint either.
        progress: show the progress of downloads on stderr.

    Raises:
        DarknetError: huggingface_hub is not installed, the Hub cannot be reached and the files are not in the cache,
            there is no such repository or file, or none or several of its files are a model.
    """
    address = parse(model)
    repository = _Repository(address)
    chosen = (choose if with_weights else choose_cfg)(repository.files, address)
    if chosen.cfg.endswith(".safetensors"):
        repository.require_own(chosen.cfg)
    return ModelFiles(
        repository.fetch(chosen.cfg, progress),
        chosen.weights and repository.fetch(chosen.weights, progress),
        chosen.names and repository.fetch(chosen.names, progress),
    )


def choose(files: Sequence[str], address: Address) -> ModelFiles:
    """Choose the files of a model: the one that is named, else ``model.safetensors``, else the only one there is.

    Args:
        files: paths in the repository.
        address: the address.

    Raises:
        DarknetError: there is no model, or several.
    """
    if address.file is not None:
        return _with_companions(files, address.file, address)
    if MODEL_FILE in files:
        return ModelFiles(MODEL_FILE)
    models = [file for file in files if file.endswith(".safetensors")]
    models += [file for file in files if file.endswith(".weights") and _companion(files, file, ".cfg")]
    models = models or [file for file in files if file.endswith(_PICKLES)]
    if not models:
        found = list_first(sorted(files), _SHOWN) or "no files"
        raise DarknetError(f"{address}: expected {MODEL_FILE}, or a .cfg with its .weights, found {found}")
    if len(models) > 1:
        raise DarknetError(
            f"{address}: has {len(models)} models: expected one of them, "
            + list_first([f"hf://{address.repo}/{file}" for file in sorted(models)], _SHOWN)
        )
    return _with_companions(files, models[0], address)


def choose_cfg(files: Sequence[str], address: Address) -> ModelFiles:
    """Choose the cfg and class names, or the checkpoint that contains them. Raises DarknetError."""
    cfgs = [file for file in files if file.endswith(".cfg")]
    cfg = cfgs[0] if address.file is None and len(cfgs) == 1 else choose(files, address).cfg
    return ModelFiles(cfg, None, None if cfg.endswith(_CHECKPOINTS) else _companion(files, cfg, ".names"))


def _with_companions(files: Sequence[str], file: str, address: Address) -> ModelFiles:
    """The model that a file belongs to."""
    if file not in files:
        raise DarknetError(f"{address}: no such file in the repository{did_you_mean(file, files)}")
    if file.endswith(_CHECKPOINTS):
        return ModelFiles(file)
    names = _companion(files, file, ".names")
    if file.endswith(".cfg"):
        return ModelFiles(file, _companion(files, file, ".weights"), names)
    if not file.endswith(".weights"):
        raise DarknetError(f"{address}: expected {', '.join(_CHECKPOINTS)}, .cfg or .weights")
    cfg = _companion(files, file, ".cfg")
    if cfg is None:
        raise DarknetError(f"{address}: the repository has no .cfg for these weights: expected one of the same name")
    return ModelFiles(cfg, file, names)


def _companion(files: Sequence[str], file: str, suffix: str) -> str | None:
    """The file of the same name with another suffix, else the only one with it."""
    same = str(pathlib.PurePosixPath(file).with_suffix(suffix))
    others = [other for other in files if other.endswith(suffix)]
    if same in others:
        return same
    return others[0] if len(others) == 1 else None


class _Repository:
    """The files of a repository at a revision, on the Hub or in the cache."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._hub = package()
        self._snapshot: pathlib.Path | None = None  # the folder in the cache, if the Hub is not asked
        try:
            info = self._hub.HfApi().model_info(address.repo, revision=address.revision, timeout=_TIMEOUT)
        except Exception as error:
            if not is_unreachable(error):
                raise explain(error, str(address)) from error
            self._snapshot = self._find_snapshot()
            if self._snapshot is None:
                raise explain(error, str(address)) from error
            if not isinstance(error, self._hub.errors.OfflineModeIsEnabled):
                _log.warning("%s: the Hub cannot be reached; using the files in the cache", address)
            folder = self._snapshot
            self.files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        else:
            self.files = [sibling.rfilename for sibling in info.siblings or ()]

    def require_own(self, file: str) -> None:
        """Raise DarknetError for a .safetensors file of another program, before it is downloaded."""
        place = {"repo_id": self._address.repo, "filename": file, "revision": self._address.revision}
        if self._snapshot is not None or isinstance(self._hub.try_to_load_from_cache(**place), str):
            return
        with _explained(self._address):
            metadata = self._hub.HfApi().parse_safetensors_file_metadata(**place).metadata
        written_by = (metadata or {}).get("format", "")
        if not written_by.startswith(_OWN_FORMAT):
            raise DarknetError(
                f"{self._address}: {file} is a model of another program (format {written_by[:40] or 'none'}): "
                "expected a checkpoint of darknet_py, as darknet-py push writes it, or a .cfg with its .weights"
            )

    def fetch(self, file: str, progress: bool) -> str:
        """Return the path of a file, and download it if it is not in the cache."""
        if self._snapshot is not None:
            return str(self._snapshot / file)
        quiet = {} if progress else {"tqdm_class": _hidden_bar()}
        with _explained(self._address):
            path: str = self._hub.hf_hub_download(
                self._address.repo,
                file,
                revision=self._address.revision,
                library_name="darknet_py",
                library_version=__version__,
                **quiet,
            )
        return path

    def _find_snapshot(self) -> pathlib.Path | None:
        """The folder of the revision in the cache."""
        revision = self._address.revision or "main"
        folder = pathlib.Path(self._hub.constants.HF_HUB_CACHE, f"models--{self._address.repo.replace('/', '--')}")
        reference = folder / "refs" / revision
        with contextlib.suppress(OSError):
            revision = reference.read_text(encoding="ascii").strip()
        snapshot = folder / "snapshots" / revision
        return snapshot if snapshot.is_dir() else None


def _hidden_bar() -> Any:
    from tqdm import tqdm

    class HiddenBar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            known = {key: value for key, value in kwargs.items() if key != "name"}  # an argument of huggingface_hub's
            super().__init__(*args, **known | {"disable": True})

    return HiddenBar


def package() -> Any:
    """Return the package huggingface_hub. Raises DarknetError without it."""
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise DarknetError("the Hugging Face Hub needs huggingface-hub: pip install 'darknet-torch[hf]'") from error
    return huggingface_hub


def is_unreachable(error: Exception) -> bool:
    """Whether a request has failed because the Hub cannot be reached, or must not be asked."""
    errors = package().errors
    if isinstance(error, errors.HfHubHTTPError):
        return error.response is not None and error.response.status_code >= 500
    return isinstance(error, errors.OfflineModeIsEnabled | errors.HTTPError | ConnectionError | TimeoutError)


def explain(error: Exception, place: str) -> DarknetError:
    """Return the error to raise for what huggingface_hub has raised.

    Args:
        error: what it raised.
        place: the address, for the message.
    """
    hub = package()
    errors = hub.errors
    endpoint = hub.constants.ENDPOINT
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return DarknetError(f"{place}: not in the cache, and HF_HUB_OFFLINE is set")
    if isinstance(error, errors.LocalEntryNotFoundError) or is_unreachable(error):
        return DarknetError(f"{place}: not in the cache, and {endpoint} cannot be reached ({_first_line(error)})")
    if isinstance(error, errors.GatedRepoError):
        return DarknetError(f"{place}: the owner restricts access: ask for it at {endpoint}/{place[5:]}, and {log_in}")
    if isinstance(error, errors.RevisionNotFoundError):
        return DarknetError(f"{place}: no such revision: expected a branch, a tag or a commit")
    if isinstance(error, errors.RepositoryNotFoundError):
        return DarknetError(f"{place}: no such repository at {endpoint}, or a private one: {log_in}")
    if isinstance(error, errors.EntryNotFoundError):
        return DarknetError(f"{place}: no such file in the repository")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return DarknetError(f"{place}: access denied (HTTP status {status}): {log_in}, with the right to do this")
    return DarknetError(f"{place}: {_first_line(error)}")


@contextlib.contextmanager
def _explained(address: Address) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise explain(error, str(address)) from error


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
