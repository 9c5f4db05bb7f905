"""The environment of Python in a subprocess that is to run no file of the working directory.

``python -m NAME`` puts the working directory in front of all other folders that modules are imported from. So a file
``pip.py`` or ``torch.py`` there would be run instead of the package of that name.
"""

from __future__ import annotations

import os
import pathlib


def environment(*, with_package: bool = False) -> dict[str, str]:
    """The environment of this process, without the working directory in what modules are imported from.

    ``with_package``: add the folder of this package, which may be that of a checkout.
    """
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    here = os.path.realpath(os.curdir)
    others = [folder for folder in folders if os.path.isabs(folder) and os.path.realpath(folder) != here]
    if with_package:
        others.append(str(pathlib.Path(__file__).resolve().parents[1]))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(others), "PYTHONSAFEPATH": "1"}
