"""``open_storage``: where the trials of a search are kept."""

from __future__ import annotations

import os
import time

import optuna
import sqlalchemy
from optuna.storages.journal import JournalFileBackend

from .._typing import StrPath
from ..errors import DarknetError
from ..files import create_folder

_LOCK_SECONDS = 120.0  # that a process waits for SQLite's lock
_ATTEMPTS, _PAUSE = 3, 0.5  # at opening a database, after which an error is one; seconds between them


def open_storage(storage: str | None, folder: StrPath) -> optuna.storages.RDBStorage | optuna.storages.JournalStorage:
    """Open a database, or a journal file.

    Args:
        storage: URL of a database, or path of a journal file; None: study.db, for SQLite, in ``folder``.
        folder: Folder of the search.

    Raises:
        DarknetError: The file is no journal.
    """
    if storage is not None and "://" not in storage:
        create_folder(os.path.dirname(storage) or ".")
        _check_journal(storage)
        return optuna.storages.JournalStorage(JournalFileBackend(storage))
    url = storage or f"sqlite:///{create_folder(folder) / 'study.db'}"
    options = {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else {}
    for _ in range(_ATTEMPTS):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError):
            time.sleep(_PAUSE)  # two processes that create the same tables: the second attempt finds them
    return optuna.storages.RDBStorage(url, engine_kwargs=options)


def _check_journal(path: str) -> None:
    """Raise DarknetError for a file that is no journal, to which one would be appended."""
    try:
        with open(path, "rb") as file:
            start = file.read(1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DarknetError(f"{path}: {error.strerror or error}") from error
    if start not in (b"", b"{"):
        raise DarknetError(f"{path}: expected a journal file of Optuna, a new file or the URL of a database")


def without_password(storage: str) -> str:
    """A storage as messages show it."""
    if "://" not in storage:
        return storage
    try:
        return sqlalchemy.engine.make_url(storage).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return storage.partition("://")[0] + "://..."
