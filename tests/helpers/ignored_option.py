"""A pytest plugin that gives one option its default value, whatever a cfg or a test sets.

    IGNORED_OPTION="cost noobj" python -m pytest -p tests.helpers.ignored_option tests/layers/test_cost.py

A test of the option must then fail.
"""

from __future__ import annotations

import os

from darknet_py.cfg import schema
from darknet_py.cfg.net_section import Net
from darknet_py.layers import LAYERS

VARIABLE = "IGNORED_OPTION"


def ignore(section: str, key: str) -> None:
    """Make reading an option of a section return its default, and assigning to it do nothing."""
    options = Net if section == "net" else LAYERS[section].Options
    field = schema.keys(options)[key]
    default = field.default
    setattr(options, field.name, property(lambda _: default, lambda _, value: None))


def pytest_configure() -> None:
    """Ignore the option named in the environment variable."""
    section, key = os.environ[VARIABLE].split()
    ignore(section, key)
