"""An entry of the catalogue, and the content of its file."""

from __future__ import annotations

import hashlib

from darknet_py.hub import catalogue

CONTENT = bytes([0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]) + bytes(range(256)) * 4000
ENTRY = catalogue.CatalogueEntry(
    name="demo",
    kind="detector",
    file="demo.weights",
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)
