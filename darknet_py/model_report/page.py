"""``to_html``: a report as one HTML page that needs no other file and runs no script."""

from __future__ import annotations

import base64
import html
import math
import platform
from collections.abc import Iterable, Sequence

import torch

from .. import __version__
from .contents import LayerFacts, ModelReport, RuntimeFacts

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d0d7de; padding-bottom: .2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .scroll { overflow-x: auto; }
td, th { padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top; white-space: nowrap; }
th { color: #57606a; font-weight: 600; } td.n, th.n { text-align: right; }
tbody tr:nth-child(even) { background: #f6f8fa; }
.wide td:last-child { min-width: 18rem; white-space: normal; overflow-wrap: anywhere; } .grey { color: #57606a; }
.ok { color: #116329; } .wrong { color: #a40e26; } figure { display: inline-block; margin: 0 1rem 1rem 0; }
figcaption { color: #57606a; overflow-wrap: anywhere; } img, svg { max-width: 100%; height: auto; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_html(report: ModelReport) -> str:
    """Return the page, UTF-8 text."""
    parts = [
        f"<h1>{_text(report.title)}</h1>",
        f'<p class="grey">Report of darknet_py {_text(__version__)}, torch {_text(torch.__version__)}, '
        f"{_text(platform.machine())}, {torch.get_num_threads()} threads.</p>",
        _verdict(report),
        _section("Files", _table(("file", "bytes", "SHA-256"), _file_rows(report), "<><")),
        _section("Model", _table((), report.summary, "<<", kind="wide")),
        _section("What the cfg has and nothing reads", _list(report.unread, "Every key has an effect.")),
        _section("Agreement and time", _agreement(report)),
        _section("Diagram", report.diagram) if report.diagram else "",
        _section("Examples", _figures(report.examples, "jpeg")) if report.examples else "",
        _section("mAP", _evaluations(report)) if report.evaluations else "",
        _section("Layers", _layers(report)),
        _section("Not on this page", _list(report.notes, "")) if report.notes else "",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{_text(report.title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _verdict(report: ModelReport) -> str:
    if report.problems:
        return "".join(f'<p class="wrong">{_text(problem)}</p>' for problem in report.problems)
    same = ", and the runtimes find the same boxes" if any(runtime.boxes for runtime in report.runtimes) else ""
    return f'<p class="ok">No problem found: the weights fit, all numbers are finite{same}.</p>'


def _file_rows(report: ModelReport) -> list[tuple[str, ...]]:
    return [(file.path, f"{file.size:,}", file.sha256) for file in report.files]


def _agreement(report: ModelReport) -> str:
    head = ("program", "largest difference", "boxes", "largest difference, pixels", "of confidence", "ms", "")
    return (
        f'<p class="grey">Input: {_text(report.input)}. Differences are max |a - b| / RMS(a) of outputs, against the '
        "layers of this package; times are medians of the network alone.</p>"
        + _table(head, [_runtime_row(runtime) for runtime in report.runtimes], "<>>>>><", kind="wide")
    )


def _runtime_row(runtime: RuntimeFacts) -> tuple[str, ...]:
    boxes = runtime.boxes
    return (
        runtime.name,
        _number(runtime.difference),
        "" if boxes is None else f"{boxes.matched} of {boxes.a}" + ("" if boxes.is_same else ", not the same"),
        "" if boxes is None or not boxes.matched else f"{boxes.max_pixels:.4f}",
        "" if boxes is None or not boxes.matched else f"{boxes.max_confidence:.6f}",
        "" if runtime.ms is None else f"{runtime.ms:.2f}",
        runtime.note,
    )


def _evaluations(report: ModelReport) -> str:
    rows = [(f"{100 * found.map:.2f} %", found.rule) for found in report.evaluations]
    first = report.evaluations[0]
    dataset = first.data.dataset
    classes = [
        (
            score.name,
            f"{score.targets:,}",
            "-" if score.average_precision < 0 else f"{100 * score.average_precision:.2f}",
            f"{100 * score.precision:.1f}",
            f"{100 * score.recall:.1f}",
            f"{100 * score.f1:.1f}",
        )
        for score in (first.all, *first.classes)
    ]
    head = ("class", "objects", "AP, %", "precision, %", "recall, %", "F1, %")
    return (
        f'<p class="grey">{len(dataset):,} images of {_text(dataset.source or "the data set")}.</p>'
        + _table(("mAP", "protocol"), rows, "><")
        + f"<p>By class, with the protocol {_text(str(first.protocol))}; precision, recall and F1 at the score "
        + f"{first.threshold:g}:</p>"
        + _table(head, classes, "<>>>>>")
        + _figures(report.curves, "png")
    )


def _layers(report: ModelReport) -> str:
    compared = any(layer.difference is not None for layer in report.layers)
    head = ("", "layer", "options", "output", "BFLOPS", "first byte", "bytes", *(["against C"] if compared else []))
    rows = [_layer_row(layer, compared) for layer in report.layers]
    if report.header:
        rows.insert(0, ("", "header", "", "", "", "0", f"{report.header:,}", *([""] if compared else [])))
    total = report.header + sum(layer.bytes for layer in report.layers)
    rows.append(("", "sum", "", "", "", "", f"{total:,}", *([""] if compared else [])))
    return _table(head, rows, "><<<>>>>")


def _layer_row(layer: LayerFacts, compared: bool) -> tuple[str, ...]:
    row = (
        str(layer.number),
        layer.section,
        layer.options,
        layer.output,
        f"{layer.bflops:.3f}" if layer.bflops else "",
        f"{layer.first:,}" if layer.bytes else "",
        f"{layer.bytes:,}" if layer.bytes else "",
    )
    return (*row, _number(layer.difference)) if compared else row


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}" if math.isfinite(value) and value else f"{value:g}"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{_text(title)}</h2>\n{content}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str, *, kind: str = "") -> str:
    """A table; ``align``: ``<`` or ``>`` for each column."""
    sides = [' class="n"' if side == ">" else "" for side in align]

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{side}>{_text(cell)}</{tag}>" for cell, side in zip(row, sides, strict=False))

    top = f"<thead><tr>{cells('th', head)}</tr></thead>" if head else ""
    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>\n{body}\n</tbody></table></div>'


def _list(items: Sequence[str], nothing: str) -> str:
    if not items:
        return f"<p>{_text(nothing)}</p>"
    return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in items)}</ul>"


def _figures(images: Iterable[tuple[str, bytes]], form: str) -> str:
    return "".join(
        f'<figure><img alt="{_text(title)}" src="data:image/{form};base64,{base64.b64encode(content).decode()}">'
        f"<figcaption>{_text(title)}</figcaption></figure>"
        for title, content in images
    )


def _text(text: str) -> str:
    """Text as HTML; what is no UTF-8, as in file names, is escaped."""
    return html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))
