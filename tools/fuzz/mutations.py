"""Seeded mutations of text, bytes, JSON values and checkpoint entries."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\s=,\[\]]+")
_DECIMALS = "0 -1 1 2 -0 3 7 255 65536 1000000 2147483647 2147483648 -2147483649 9223372036854775808 +5 0x10 1_000 ٣"
_FLOATS = "1e3 1e30 1e308 1e309 -1e-320 .1 . - nan inf -inf 1,2"
_NUMBERS = (*_DECIMALS.split(), *_FLOATS.split(), "1 2", "", "9" * 30)
_SYMBOLS = "é 名 # ; = , ,, [ ] [net] ' \" %s {} ../ / \\ ~ - * &a <!-- &lt; true null"
_INSERTIONS = (*_SYMBOLS.split(), "\0", "\r", "\n", "\r\n", "\t", " ", "\ufeff", "\u2028", "\x1b[2J")
_ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp1251", "shift_jis")
_MAX_REPEATS = 200
_MAX_FLOATS = 1 << 20  # of a tensor that is changed; others are replaced


def mutate_text(text: str, rng: random.Random) -> bytes:
    """Apply one to four random mutations to a text; one time in thirty, encode it in something else than UTF-8."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        text = rng.choice(_TEXT_MUTATIONS)(text, rng)
    encoding = rng.choice(_ENCODINGS) if rng.random() < 1 / 30 else "utf-8"
    data = text.encode(encoding, errors="replace")
    return mutate_bytes(data, rng) if rng.random() < 1 / 10 else data


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Apply one to four random mutations to bytes: changed bits and integers, cuts, insertions, repetitions."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = _position(len(changed), rng)
        length = min(len(changed) - start, 1 << rng.randrange(12))
        match rng.randrange(7):
            case 0 if changed:
                changed[min(start, len(changed) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                size = rng.choice((1, 2, 4, 8))
                value = rng.choice(
                    (
                        0,
                        1,
                        (1 << (8 * size)) - 1,
                        1 << (8 * size - 1),
                        (1 << (8 * size - 1)) - 1,
                        rng.getrandbits(8 * size),
                    )
                )
                changed[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))
            case 2:
                del changed[start:]
            case 3:
                del changed[start : start + length]
            case 4:
                changed[start:start] = changed[start : start + length] * rng.choice((1, 2, 8))
            case 5:
                changed[start:start] = rng.randbytes(rng.choice((1, 4, 64, 1024)))
            case _:
                changed[start : start + length] = rng.randbytes(length)
    return bytes(changed)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """Return a copy of a JSON value with one to three of its entries replaced, removed, repeated or nested."""
    return _mutate_entries(value, rng, _json_values)


def mutate_checkpoint(value: Any, rng: random.Random) -> Any:
    """Return a copy of a checkpoint's content with one to three of its entries replaced, removed or nested."""
    return _mutate_entries(value, rng, _checkpoint_values)


def _mutate_entries(value: Any, rng: random.Random, values: Callable[[Any, random.Random], Any]) -> Any:
    holder = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        parent, key = _random_entry(holder, rng)
        old = parent[key]
        match rng.randrange(8):
            case 0 if parent is not holder:
                del parent[key]
            case 1 if isinstance(parent, list) and parent is not holder:
                parent.insert(key, copy.deepcopy(old))
            case 2 if isinstance(parent, dict):
                parent[rng.choice(("", "a", 0, "\0", f"{key}2"))] = old
            case 3:
                parent[key] = [old] if rng.random() < 0.5 else {"a": old}
            case _:
                parent[key] = values(old, rng)
    return holder[0]


def _random_entry(root: list[Any], rng: random.Random) -> tuple[Any, Any]:
    """A container and a key or index in it, deeper entries more often than the root."""
    entries: list[tuple[Any, Any]] = [(root, 0)]
    stack: list[Any] = [root[0]]
    while stack:
        node = stack.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        entries += [(node, key) for key in keys]
        stack += [node[key] for key in keys]
    return rng.choice(entries)


def _json_values(old: Any, rng: random.Random) -> Any:
    numbers = (0, -1, 1, 0.5, 1 << 31, 1 << 63, 10**30, float("nan"), float("inf"), -1e308)
    texts = ("", "0", "x" * 70000, "\0", "../../etc", "名", str(old))
    others: tuple[Any, ...] = (None, True, [], {}, [[]], [0] * 5, {"id": 0}, [old, old])
    choices: Sequence[Any] = (*numbers, *texts, *others)
    return rng.choice(choices)


def _checkpoint_values(old: Any, rng: random.Random) -> Any:
    import torch

    shapes = (torch.zeros(0), torch.zeros(3), torch.tensor(float("nan")), torch.zeros(2).to_sparse())
    dtypes = [torch.zeros(2, 2, dtype=getattr(torch, name)) for name in ("float64", "int64", "complex64", "bool")]
    tensors = (*shapes, *dtypes, torch.zeros(1).expand(1 << 40))
    is_plain = isinstance(old, torch.Tensor) and old.layout == torch.strided and old.numel() < _MAX_FLOATS
    if is_plain and rng.random() < 0.5:
        changes = (
            old.double(),
            old.half(),
            old.flatten(),
            old[None],
            old * float("nan"),
            old[..., :-1] if old.dim() else old,
        )
        return rng.choice(changes).clone()
    return rng.choice((_json_values(old, rng), rng.choice(tensors), b"bytes", (1, 2), {1: 2}))


def _position(length: int, rng: random.Random) -> int:
    """A position in a file: in its first 200 bytes, where headers are, half of the time."""
    return rng.randrange(min(length, 200) + 1) if rng.random() < 0.5 else rng.randrange(length + 1)


def _replace_number(text: str, rng: random.Random) -> str:
    return _replace_match(text, _NUMBER, rng.choice(_NUMBERS), rng)


def _scale_number(text: str, rng: random.Random) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    number = rng.choice(found)
    value = float(number[0]) * rng.choice((-1, 0.5, 2, 3, 10, 100)) + rng.choice((0, 0, 1, -1))
    return text[: number.start()] + f"{value:.12g}" + text[number.end() :]


def _swap_words(text: str, rng: random.Random) -> str:
    words = _WORD.findall(text)
    return _replace_match(text, _WORD, rng.choice(words), rng) if words else text


def _remove_word(text: str, rng: random.Random) -> str:
    return _replace_match(text, _WORD, "", rng)


def _replace_match(text: str, pattern: re.Pattern[str], new: str, rng: random.Random) -> str:
    found = list(pattern.finditer(text))
    if not found:
        return text + new
    old = rng.choice(found)
    return text[: old.start()] + new + text[old.end() :]


def _insert(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_INSERTIONS) + text[at:]


def _cut(text: str, rng: random.Random) -> str:
    start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return text[:start] if rng.random() < 0.3 else text[:start] + text[min(end, start + 50) :]


def _move_lines(text: str, rng: random.Random) -> str:
    """Remove, repeat or move a block of lines."""
    lines = text.splitlines(keepends=True)
    start = rng.randrange(len(lines) + 1)
    block = lines[start : start + rng.choice((1, 1, 2, 5, 20))]
    rest = lines[:start] + lines[start + len(block) :]
    at = rng.randrange(len(rest) + 1)
    repeats = rng.choice((0, 1, 1, 2, 2, 3, _MAX_REPEATS))
    return "".join(rest[:at] + block * repeats + rest[at:])


def _change_character(text: str, rng: random.Random) -> str:
    if not text:
        return text
    at = rng.randrange(len(text))
    return text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0xD800)))) + text[at + 1 :]


_TEXT_MUTATIONS: Sequence[Callable[[str, random.Random], str]] = (
    *(_replace_number, _replace_number, _replace_number, _scale_number),
    *(_swap_words, _remove_word, _insert, _cut, _move_lines, _change_character),
)
