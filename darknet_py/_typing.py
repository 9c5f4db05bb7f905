"""Type aliases shared by the whole package."""

from __future__ import annotations

import os

StrPath = str | os.PathLike[str]
