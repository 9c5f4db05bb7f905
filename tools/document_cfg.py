#!/usr/bin/env python3
"""Generate parts of the documentation from the code: sections, keys, and the order of arrays in a .weights file.

    python tools/document_cfg.py            # write the pages
    python tools/document_cfg.py --check    # exit 1 if a page is out of date

Only the text between ``<!-- NAME: ... -->`` and ``<!-- end of NAME -->`` is replaced. Keys, types and defaults are
those of the Options classes, descriptions their ``doc`` and docstrings, arrays those of ``Layer.stored`` of small
layers, bytes those of ``weights.save``.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
import io
import math
import pathlib
import runpy
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch

from darknet_py import cfg, cli, weights
from darknet_py.activations import ALIASES, Activation
from darknet_py.cfg import Dialect, schema, values
from darknet_py.cfg.net_section import Net
from darknet_py.layers import LAYERS, Layer
from darknet_py.network import Network

ROOT = pathlib.Path(__file__).resolve().parents[1]
_NOTE = "written by tools/document_cfg.py"
_TYPES = {
    int: "integer",
    float: "number",
    bool: "0 or 1",
    pathlib.Path: "file",
    tuple[int, ...]: "integers",
    tuple[float, ...]: "numbers",
}
_EFFECTS: dict[schema.Effect, str] = {
    "none": "**no effect**",
    "unused": "**no effect**, in official cfgs",
    "speed": "**no effect here**, speed and memory only in Darknet",
    "unsupported": "**not supported**, ignored",
}

# An example of every section that stores arrays, with the sections before it.
_EXAMPLES = (
    "[convolutional]\nfilters=8\nsize=3",
    "[convolutional]\nfilters=8\nsize=3\nbatch_normalize=1",
    "[convolutional]\nfilters=8\nsize=3\ngroups=2",
    "[convolutional]\nfilters=8\nsize=3\nflipped=1",
    "[deconvolutional]\nfilters=8\nsize=3\nbatch_normalize=1",
    "[connected]\noutput=10\nbatch_normalize=1",
    "[local]\nfilters=8\nsize=3\npad=1",
    "[batchnorm]",
    "[prelu]",
    "[implicit]\nfilters=8\natoms=2",
    "[implicit_add]\nfilters=8",
    "[implicit_mul]\nfilters=8",
    "[se]",
    "[depthwise]\nfilters=8\nsize=3\nbatch_normalize=1",
    "[empty]\n[empty]\n[shortcut]\nfrom=-2\nweights_type=per_feature\nweights_normalization=relu",
    "[empty]\n[empty]\n[shortcut]\nfrom=-2\nweights_type=per_channel\nweights_normalization=softmax",
    "[rnn]\noutput=5\nhidden=5",
    "[crnn]\noutput=5\nhidden=3\npad=1",
    "[gru]\noutput=5",
    "[lstm]\noutput=5",
    "[conv_lstm]\noutput=5\npad=1\npeephole=1",
)
_INPUT = "[net]\nwidth=6\nheight=6\nchannels=4\n"


def kinds() -> list[type[Layer]]:
    """Return the section types in the alphabetical order of their first names."""
    return sorted(set(LAYERS.values()), key=lambda kind: kind.names[0].lower())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def sections() -> str:
    """Format the table of section types."""
    rows = []
    for kind in kinds():
        first, *others = kind.names
        link = f"[`[{first}]`](#{first.lower()})"
        rows.append((link, ", ".join(f"`[{name}]`" for name in others), _purpose(kind)))
    return table(("section", "aliases", "description"), rows)


def verbs() -> str:
    """Format the table of commands."""
    rows = ((f"`{name}`", _text(module.__doc__).partition("\n")[0]) for name, module in cli.verbs().items())
    return table(("command", "description"), rows)


def activations() -> str:
    """List the names that ``activation=`` takes."""
    aliases = (f"`{alias}` for `{name}`" for alias, name in ALIASES.items())
    return f"{', '.join(f'`{kind.value}`' for kind in Activation)}; {', '.join(aliases)}"


def reference() -> str:
    """Format all sections with their keys."""
    common = schema.keys(Layer.Options)
    parts = ["## [net]", "Also called `[network]`. " + _sentence(inspect.getmodule(Net)), *_keys(Net, ())]
    parts += ["## Keys of every layer", "Keys of any section except `[net]`.", *_keys(Layer.Options, ())]
    for kind in kinds():
        first, *others = kind.names
        also = f" Also called {', '.join(f'`[{name}]`' for name in others)}." if others else ""
        purpose = _purpose(kind)
        parts += [f"## [{first}]", f"{purpose[0].upper()}{purpose[1:]}.{also}", _text(kind.__doc__)]
        parts += _keys(kind.Options, common)
    return "\n\n".join(parts)


def ineffective() -> str:
    """Format the table of options that change no result here, by section."""
    common = schema.keys(Layer.Options)
    sections = [("`[net]`", schema.keys(Net)), ("any layer", common)]
    for kind in kinds():
        known = schema.keys(kind.Options)
        sections.append((f"`[{kind.names[0]}]`", {key: known[key] for key in known if key not in common}))
    rows = []
    for section, known in sections:
        for effect, meaning in _EFFECTS.items():
            names = [f"`{key}=`" for key, option in known.items() if option.metadata["effect"] == effect]
            if names:
                rows.append((section, ", ".join(names), meaning))
    return table(("section", "keys", "effect"), rows)


def order() -> str:
    """Format the table of each section type's arrays in the order of the file, from small networks."""
    rows = []
    for text in _EXAMPLES:
        arrays = {dialect: _arrays(text, dialect) for dialect in Dialect}
        name, *keys = text.rpartition("[")[2].split("\n")
        shown = f"`{' '.join(keys)}`" if keys else ""
        if len(set(arrays.values())) == 1:
            rows.append((f"`[{name}`", shown, arrays[Dialect.ALEXEYAB]))
        else:
            rows += [(f"`[{name}` in {dialect}", shown, arrays[dialect]) for dialect in Dialect]
    return table(("section", "keys, on an input of 6 x 6 x 4", "arrays in the order of the file"), rows)


def example() -> str:
    """Format the bytes of a file of one layer, with their meaning."""
    text = "[net]\nwidth=2\nheight=2\nchannels=1\n\n[convolutional]\nfilters=2\nsize=1\nactivation=linear\n"
    network = Network(cfg.loads(text))
    with torch.no_grad():
        for array, numbers in zip(weights.stored(network), ((0.5, -1.0), (2.0, 0.25)), strict=True):
            array.tensor.copy_(torch.tensor(numbers).view_as(array.tensor))
    network.seen = 64
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "a.weights")
        weights.save(network, file)
        content = file.read_bytes()
    fields = [(4, "major 0"), (4, "minor 2"), (4, "revision 5"), (8, "seen 64, a uint64 since version 0.2")]
    for array in weights.stored(network):
        fields += [(4, f"{array.label}[{i}] = {value:g}") for i, value in enumerate(array.tensor.flatten().tolist())]
    lines = []
    stream = io.BytesIO(content)
    for size, meaning in fields:
        lines.append(f"{stream.tell():04x}  {stream.read(size).hex(' '):24}{meaning}")
    assert not stream.read(1)
    return f"```ini\n{text}```\n\n```text\n" + "\n".join(lines) + "\n```"


def darknet_table(name: str) -> str:
    """Format a table of Darknet's command lines, of ``document_darknet.py`` in this folder."""
    return table(*runpy.run_path(str(pathlib.Path(__file__).with_name("document_darknet.py")))[name]())


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/cli.md": {"verbs": verbs},
    "docs/darknet.md": {name: partial(darknet_table, name) for name in ("functions", "flags", "lines")},
    "docs/cfg.md": {"sections": sections, "activations": activations, "reference": reference},
    "docs/oddities.md": {"options": ineffective},
    "docs/weights.md": {"example": example, "order": order},
}


def regenerate(page: str, text: str) -> str:
    """Return the text of a page with its blocks generated again. Raises ValueError if one is missing."""
    for name, write in BLOCKS[page].items():
        first, last = f"<!-- {name}: {_NOTE} -->\n", f"\n<!-- end of {name} -->"
        before, start, rest = text.partition(first)
        _, end, after = rest.partition(last)
        if not start or not end:
            raise ValueError(f"{page}: expected a block between {first.strip()} and {last.strip()}")
        text = f"{before}{first}\n{write()}\n{last}{after}"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or check that they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    args = parser.parse_args(argv)
    stale = []
    for page in BLOCKS:
        old = (ROOT / page).read_text(encoding="utf-8")
        new = regenerate(page, old)
        if new != old:
            stale.append(page)
            print(f"{page}: {'out of date, run tools/document_cfg.py' if args.check else 'written'}")
            if not args.check:
                (ROOT / page).write_text(new, encoding="utf-8")
    return 1 if stale and args.check else 0


def _keys(options: type[schema.Options], left_out: Iterable[str]) -> list[str]:
    """Tables of the keys, those for inference first."""
    known = schema.keys(options)
    hints = typing.get_type_hints(options)
    rows: dict[bool, list[tuple[str, str, str, str]]] = {False: [], True: []}
    for key, option in known.items():
        if key not in left_out:
            row = (f"`{key}`", _type(hints[option.name]) + _range(option), _default(option.default), _meaning(option))
            rows[option.metadata["train"]].append(row)
    head = ("key", "value", "default", "meaning")
    parts = [table(head, rows[False])] if rows[False] else []
    return [*parts, "For training:", table(head, rows[True])] if rows[True] else parts


def _meaning(option: dataclasses.Field[typing.Any]) -> str:
    """The description of a key, with its effect where it is not Darknet's."""
    note = "not Darknet's" if option.metadata["extension"] else _EFFECTS.get(option.metadata["effect"])
    return f"{option.metadata['doc']} ({note})" if note else str(option.metadata["doc"])


def _type(hint: typing.Any) -> str:
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if hint is Activation:
        return "[an activation](#activations)"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    return _TYPES[hint]


def _range(option: dataclasses.Field[typing.Any]) -> str:
    """The range of a number; nothing where it is that of C's type."""
    low, high = option.metadata["min"], option.metadata["max"]
    return "" if low is None and high is None else f", {values.describe_range(float, (low, high))}"


def _default(value: object) -> str:
    if value is dataclasses.MISSING:
        return "must be given"
    if value is None or value == ():
        return "none"
    if isinstance(value, float) and math.isinf(value):
        return "no limit"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{int(typing.cast(int, value))}`"


def _purpose(kind: type[Layer]) -> str:
    """The description of a section, from the first line of its module."""
    return _sentence(inspect.getmodule(kind)).partition(": ")[2].rstrip(".")


def _sentence(module: types.ModuleType | None) -> str:
    return _text(inspect.getdoc(module)).partition("\n\n")[0]


def _text(docstring: str | None) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


def _arrays(text: str, dialect: Dialect) -> str:
    network = Network(cfg.loads(_INPUT + text), dialect=dialect)
    layer = network[len(network.layers) - 1]
    arrays = [(name, tuple(tensor.shape)) for name, tensor in layer.stored()]
    parts = list(dict.fromkeys(name.partition(".")[0] for name, _ in arrays if "." in name))
    if parts and isinstance(layer.get_submodule(parts[0]), Layer):
        inner = type(layer.get_submodule(parts[0]))
        name = next(kind.names[0] for kind in LAYERS.values() if issubclass(kind, inner))
        return f"{', '.join(parts)}; each as `[{name}]`"
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in arrays)


if __name__ == "__main__":
    sys.exit(main())
