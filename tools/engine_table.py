#!/usr/bin/env python3
"""Write the table of docs/performance.md: the boxes of every engine, compared with C Darknet's.

    python -m tools.engine_table [--minutes N] [--figures FILE] [NAME ...]

The networks are the detectors of ../shared/conformance/alexeyab with the weights and the input of their reference
values, and those of ../shared/data/networks/boxes.json, which other people trained, on their first six images. Those
with the fewest parameters come first. What an engine finds is kept in a JSON file as soon as it is there, with a hash
of the cfg: a run that was stopped continues, and a changed cfg is measured again. Without ../shared, the table is
written from that file. Engines that are not installed are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from darknet_py.errors import DarknetError
from darknet_py.files import atomic_write
from darknet_py.inference import engines
from tests.helpers import paths, reference_boxes
from tests.helpers.reference_boxes import Comparison
from tools import export_page

FIGURES = paths.ROOT / "docs" / "engines.json"
PAGE = paths.ROOT / "docs" / "performance.md"
ENGINES = ("torch", "graph", "openvino", "onnxruntime", "ncnn")
SETS = {"trained": "networks that other people trained", "alexeyab": "AlexeyAB's cfgs, weights of a seed"}
TOTALS = {"trained": 6, "alexeyab": 63}
Figures = dict[str, dict[str, Any]]


class Case(NamedTuple):
    """A network: its name in the figures, its cfg, its number of parameters, and what loads and compares it."""

    name: str
    cfg: pathlib.Path
    parameters: int
    open: Callable[[], Callable[[str], Comparison]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks to measure (default: all)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no engine after this time")
    parser.add_argument("--figures", type=pathlib.Path, default=FIGURES)
    args = parser.parse_args(argv)
    figures: Figures = json.loads(args.figures.read_text()) if args.figures.exists() else {}
    measured = [case for case in cases() if not args.names or case.cfg.stem in args.names]
    measure(measured, figures, args.figures, time.monotonic() + 60 * args.minutes)
    lines = table(figures)
    if args.figures == FIGURES:
        text = export_page.replace_block(PAGE.read_text(encoding="utf-8"), "engines", "tools/engine_table.py", lines)
        with atomic_write(PAGE, "w") as file:
            file.write(text)
    print("\n".join(lines))
    return 0


def cases() -> list[Case]:
    """The networks of both sets, those with the fewest parameters first; none without ../shared."""
    if not reference_boxes.TRAINED.is_dir():
        return []
    totals = json.loads((paths.GOLDEN / "totals.json").read_text(encoding="utf-8"))
    found = [
        Case(f"alexeyab/{cfg.stem}", cfg, totals[f"alexeyab/{cfg.stem}"]["floats"], reference_case(cfg))
        for cfg in reference_boxes.detectors()
    ]
    for name, entry in reference_boxes.trained_networks().items():
        cfg = reference_boxes.TRAINED / f"{name}.cfg"
        found.append(
            Case(f"trained/{name}", cfg, cfg.with_suffix(".weights").stat().st_size // 4, trained_case(name, entry))
        )
    return sorted(found, key=lambda case: case.parameters)


def reference_case(cfg: pathlib.Path) -> Callable[[], Callable[[str], Comparison]]:
    """A network with reference values."""

    def open_case() -> Callable[[str], Comparison]:
        expected = reference_boxes.load_reference(cfg)
        with tempfile.TemporaryDirectory() as folder:
            net = reference_boxes.load_network(cfg, expected, pathlib.Path(folder, "a.weights"))
        return lambda engine: reference_boxes.compare(net, expected, engine)

    return open_case


def trained_case(name: str, entry: dict[str, Any]) -> Callable[[], Callable[[str], Comparison]]:
    """A network of boxes.json."""
    return lambda: lambda engine: reference_boxes.compare_trained(name, entry, engine)


def measure(found: Sequence[Case], figures: Figures, file: pathlib.Path, end: float) -> None:
    """Add what is missing in ``figures``, and write each result into ``file`` as soon as it is there."""
    for case in found:
        digest = hashlib.sha256(case.cfg.read_bytes()).hexdigest()[:16]
        entry = figures.get(case.name, {})
        results: dict[str, Any] = entry["engines"] if entry.get("cfg") == digest else {}
        missing = [name for name in ENGINES if name not in results and engines.is_installed(name)]
        compare = None
        for engine in missing:
            if time.monotonic() > end:
                return
            started = time.process_time()
            try:
                compare = compare or case.open()
                with reference_boxes.temporary_cache():
                    results[engine] = result(compare(engine))
            except DarknetError as error:
                results[engine] = {"refused": str(error).replace(f"{case.cfg}: ", "")}
            except Exception as error:  # a mistake of the package, which the table shows as well
                results[engine] = {"refused": f"{type(error).__name__}: {error}"}
            figures[case.name] = {"cfg": digest, "engines": results}
            with atomic_write(file, "w") as out:
                json.dump(figures, out, indent=1, sort_keys=True)
            used = time.process_time() - started
            print(case.name, engine, results[engine], f"{used:.0f} s", file=sys.stderr, flush=True)


def result(compared: Comparison) -> dict[str, Any]:
    """Return what the figures have of a comparison."""
    return {"boxes": compared.boxes, "largest": float(f"{compared.largest:.2e}"), "wrong": len(compared.wrong)}


def table(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table as lines of Markdown, and what is not C's."""
    lines = [
        "| networks | engine | with C's boxes | refused | boxes | largest difference |",
        "|---|---|---:|---:|---:|---|",
    ]
    for key, words in SETS.items():
        for engine in ENGINES:
            entries = [entry["engines"] for name, entry in figures.items() if name.startswith(f"{key}/")]
            results = [entry[engine] for entry in entries if engine in entry]
            good = [row for row in results if "boxes" in row and not row["wrong"]]
            refused = sum("refused" in row for row in results)
            largest = f"{max(row['largest'] for row in good):.1e} " if good else ""
            boxes = sum(row["boxes"] for row in good)
            lines.append(f"| {words} | {engine} | {len(good)} of {len(results)} | {refused} | {boxes} | {largest}|")
    return [*lines, "", *exceptions(figures), *progress(figures)]


def exceptions(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each reason for which engines do not have C's boxes of some networks."""
    names_of: dict[tuple[str, str], list[str]] = {}
    for key in SETS:
        for name in (name.partition("/")[2] for name in sorted(figures) if name.startswith(f"{key}/")):
            engines_of: dict[str, list[str]] = {}
            for engine in ENGINES:
                row = figures[f"{key}/{name}"]["engines"].get(engine, {})
                if "refused" in row:
                    reason = "refused, " + row["refused"].removeprefix(f"engine {engine}: ")
                    engines_of.setdefault(reason, []).append(engine)
                elif row.get("wrong"):
                    engines_of.setdefault(f"{row['wrong']} boxes differ", []).append(engine)
            for reason, names in engines_of.items():
                names_of.setdefault((reason, ", ".join(names)), []).append(f"`{name}`")
    lines = [f"* {', '.join(names)} in {by}: {reason}." for (reason, by), names in names_of.items()]
    return [*lines, ""] if lines else []


def progress(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How many networks were measured with all engines."""
    counts = {
        key: sum(
            name.startswith(f"{key}/") and len(entry["engines"]) == len(ENGINES) for name, entry in figures.items()
        )
        for key in SETS
    }
    found = [f"{counts[key]} of the {TOTALS[key]}" for key in ("alexeyab", "trained")]
    return [f"Measured with all engines: {found[0]} detectors of AlexeyAB's cfgs, and {found[1]} trained networks."]


if __name__ == "__main__":
    sys.exit(main())
