"""Darknet's cfg format: grammar, typed options, and the keys of ``[net]``. Imports no torch."""

from .grammar import Config, Dialect, Entry, Section, dumps, load, loads

__all__ = ["Config", "Dialect", "Entry", "Section", "dumps", "load", "loads"]
