"""Read ``data.yaml`` files, as Ultralytics, Roboflow and others write them.

path: ../datasets/coco8
train: images/train            # a folder, a list file, or a list of them
names: {0: person, 1: 'traffic light'}
"""

from __future__ import annotations

import os
from typing import Any

from .._typing import StrPath
from ..errors import DataError
from ..text_files import read_text, to_unicode


def read_data_yaml(path: StrPath) -> dict[str, Any]:
    """Return the entries of the top level; every number and word in them is text.

    Raises:
        DataError: the file cannot be read, or is not a mapping in YAML; with the line.
    """
    import yaml

    name = os.fspath(path)
    try:
        # Without a type: a class named `no` or `1.0` stays a name.
        content = yaml.load(to_unicode(read_text(path)), yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataError(f"{name}{line}: expected YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{name}: expected YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise DataError(f"{name}: expected lines `key: value`, found a {type(content).__name__}")
    return content


def find_names(entries: dict[str, Any], path: StrPath) -> tuple[str, ...]:
    """Return the class names of ``names``: a list, a mapping from numbers, or one name.

    Raises DataError for anything else.
    """
    names = entries.get("names") or []
    if isinstance(names, str):
        names = [names]
    if isinstance(names, dict):
        try:
            names = [names[key] for key in sorted(names, key=int)]
        except ValueError:
            raise DataError(f"{os.fspath(path)}: names: expected class numbers, got {', '.join(names)[:60]}") from None
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{os.fspath(path)}: names: expected a list of names, or `number: name` lines")
    return tuple(names)


def find_paths(entries: dict[str, Any], key: str, path: StrPath) -> list[str]:
    """Return the paths of a key: one, or a list of them. Raises DataError for anything else."""
    value = entries[key]
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(part, str) for part in paths):
        raise DataError(f"{os.fspath(path)}: {key}: expected a path or a list of paths, got a {type(value).__name__}")
    return paths
