"""Formats of data sets that Datumaro reads and this package does not, such as KITTI, WIDER FACE and Open Images.

Datumaro converts them to COCO's, which ``formats`` reads: https://github.com/open-edge-platform/datumaro.
"""

from __future__ import annotations

import os
import pathlib

from .._typing import StrPath
from ..errors import DataError, list_first
from ..messages import quiet_loggers

_PIP = "pip install 'darknet-torch[datumaro]'"


def convert_to_coco(path: StrPath, format_name: str, folder: StrPath) -> None:
    """Write a data set in COCO's format, with its images.

    Args:
        path: The data set.
        format_name: Its format by Datumaro's name, for example ``kitti_detection`` or ``wider_face``.
        folder: Where it is written.

    Raises:
        DataError: Datumaro is not installed, does not know the format, or finds no images with objects.
    """
    try:
        import datumaro
        from datumaro.components.environment import Environment
    except ImportError as error:
        raise DataError(f"--from needs the package datumaro: {_PIP}") from error
    known = sorted(Environment().importers)
    if format_name not in known:
        raise DataError(f"--from: expected a format of Datumaro ({list_first(known, 100)}), got {format_name}")
    source = os.fspath(path)
    if not os.path.exists(source):
        raise DataError(f"{source}: no such file or folder")
    try:
        with quiet_loggers("datumaro", "root"):
            dataset = datumaro.Dataset.import_from(source, format_name)
            if not len(dataset):
                raise DataError(f"{source}: Datumaro finds no images in it as {format_name}")
            dataset.export(os.fspath(folder), "coco_instances", save_media=True)
    except DataError:
        raise
    except Exception as error:  # Datumaro's own, and any other of the package that reads the format
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise DataError(f"{source}: Datumaro cannot read it as {format_name}: {reason[:300]}") from error
    if not any(pathlib.Path(folder, "annotations").glob("instances_*.json")):
        raise DataError(f"{source}: Datumaro finds no objects in it as {format_name}")
