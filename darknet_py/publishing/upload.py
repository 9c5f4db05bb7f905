"""``push``: write a network as the files of a repository on the Hugging Face Hub, and upload them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from torch import nn

from .. import cfg as cfg_
from .._typing import StrPath
from ..errors import DarknetError
from ..files import atomic_write, create_folder
from ..hub import huggingface
from ..hub.huggingface import MODEL_FILE
from ..loading import save
from ..network import unwrap
from .model_card import CardScore, ModelCard


def push(
    network: nn.Module,
    repo: str,
    *,
    scores: Sequence[CardScore] = (),
    source: str = "",
    license: str = "",
    private: bool | None = None,
    message: str = "Upload a model",
    allow_non_finite: bool = False,
) -> str:
    """Upload a network to the Hugging Face Hub, into a repository that is created if it is absent.

    Args:
        network: a network with weights.
        repo: ``owner/repo``, with or without ``hf://`` in front.
        scores: scores for the model card, see ``model_card.map_scores``.
        source: where the weights come from, for the model card.
        license: identifier of the licence on the Hub, such as ``mit``; empty: unset.
        private: whether a new repository is private; None: as the owner's settings say.
        message: message of the commit.
        allow_non_finite: upload weights that contain NaN or Inf, too.

    Returns:
        The URL of the repository.

    Raises:
        DarknetError: huggingface_hub is not installed, there is no token, the Hub refuses it or cannot be reached.
        WeightsError: the weights contain NaN or Inf.
    """
    address = require_repository(repo)
    hub = huggingface.package()
    require_token()
    with tempfile.TemporaryDirectory(prefix="darknet_py.") as folder:
        write_repository(
            network, folder, address, scores=scores, source=source, license=license, allow_non_finite=allow_non_finite
        )
        api = hub.HfApi(library_name="darknet_py")
        with _explained(f"hf://{address}"):
            url = api.create_repo(address, private=private, exist_ok=True)
            api.upload_folder(repo_id=address, folder_path=folder, commit_message=message)
    return str(url)


def write_repository(
    network: nn.Module,
    folder: StrPath,
    repo: str,
    *,
    scores: Sequence[CardScore] = (),
    source: str = "",
    license: str = "",
    allow_non_finite: bool = False,
) -> list[pathlib.Path]:
    """Write the files of a repository: the checkpoint, the cfg, the class names and the model card.

    The arguments are those of ``push``. Returns the files.
    """
    network = unwrap(network)
    target = create_folder(folder)
    files = [target / MODEL_FILE]
    save(network, files[0], allow_non_finite=allow_non_finite)
    stem = pathlib.PurePath(network.config.path).stem or "network"
    texts = {f"{stem}.cfg": network.config.text or cfg_.dumps(network.config)}
    if network.names:
        texts[f"{stem}.names"] = "".join(f"{name}\n" for name in network.names)
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    stated = f"{source}\n\n" if source else ""
    stated += f"`{MODEL_FILE}` holds weights, cfg, class names and the header of the .weights file; SHA-256 `{digest}`."
    texts["README.md"] = ModelCard(repo, network, f"{stem}.cfg", stated, scores, license).to_markdown()
    for name, text in texts.items():
        with atomic_write(target / name, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        files.append(target / name)
    return files


def require_repository(repo: str) -> str:
    """Return ``owner/repo`` of an address. Raises DarknetError for another."""
    address = huggingface.parse(repo if huggingface.is_address(repo) else f"hf://{repo}")
    if address.revision or address.file:
        raise DarknetError(f"{repo}: expected owner/repo, without revision and file")
    return address.repo


def require_token() -> None:
    """Raise DarknetError if there is no token, or the Hub must not be asked."""
    hub = huggingface.package()
    if hub.constants.HF_HUB_OFFLINE:
        raise DarknetError("push: HF_HUB_OFFLINE is set: expected a connection to the Hub")
    if hub.get_token() is None:
        raise DarknetError("push: no token: log in with `hf auth login`, or set HF_TOKEN to a token with write access")


def describe_source(cfg: StrPath, weights: StrPath | None) -> str:
    """Name the files that a network was loaded from, with their SHA-256."""
    described = []
    for path in (cfg, weights):
        if path is not None and os.path.isfile(path):
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            described.append(f"`{os.path.basename(path)}` (SHA-256 `{digest}`)")
    return f"Loaded from {' and '.join(described)}." if described else ""


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    try:
        yield
    except DarknetError:
        raise
    except Exception as error:
        if huggingface.is_unreachable(error):
            endpoint = huggingface.package().constants.ENDPOINT
            raise DarknetError(f"{place}: {endpoint} cannot be reached ({error})") from error
        raise huggingface.explain(error, place) from error
