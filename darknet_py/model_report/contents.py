"""``ModelReport``: what a report says of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..compare.matching import BoxMatches
from ..evaluation.scores import Evaluation


@dataclass(frozen=True)
class FileFacts:
    """A file of the model: path, size in bytes, and SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class LayerFacts:
    """A layer.

    Attributes:
        number: Its number.
        section: Its section.
        options: Its options, as in Darknet's table.
        output: Shape of its output.
        bflops: Its work in 10^9 operations.
        first: Its first byte in the .weights file.
        bytes: How many bytes it has there.
        difference: ``max |a - b| / RMS(a)`` of its output in C Darknet; None where that was not compared.
    """

    number: int
    section: str
    options: str
    output: str
    bflops: float
    first: int
    bytes: int
    difference: float | None = None


@dataclass(frozen=True)
class RuntimeFacts:
    """Another program that runs the model.

    Attributes:
        name: The program.
        boxes: How its boxes match those of this package, layer by layer; None where that was not compared.
        difference: Largest ``max |a - b| / RMS(a)`` of a layer or of the outputs of a head.
        ms: Median milliseconds of a run; None where it was not timed.
        note: Why something is missing.
    """

    name: str
    boxes: BoxMatches | None = None
    difference: float | None = None
    ms: float | None = None
    note: str = ""


@dataclass
class ModelReport:
    """What is known of a model.

    Attributes:
        title: Name of the model.
        files: Cfg and weights.
        summary: Rows of a name and a value.
        problems: What is wrong, as sentences.
        unread: Text of the cfg that nothing reads, or that changes nothing.
        header: Bytes of the header of the .weights file; 0 for a checkpoint.
        layers: All layers.
        diagram: SVG; empty without matplotlib.
        input: What the runtimes ran on.
        runtimes: The programs.
        examples: Title and JPEG of images with boxes.
        evaluations: By protocol.
        curves: Title and PNG.
        notes: What the page does not have, and why.
    """

    title: str
    files: list[FileFacts] = field(default_factory=list)
    summary: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    header: int = 0
    layers: list[LayerFacts] = field(default_factory=list)
    diagram: str = ""
    input: str = ""
    runtimes: list[RuntimeFacts] = field(default_factory=list)
    examples: list[tuple[str, bytes]] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    curves: list[tuple[str, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
