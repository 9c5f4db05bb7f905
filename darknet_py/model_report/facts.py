"""``collect``: what a report says of a model, measured; ``page`` writes it."""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from .. import weights
from .._typing import StrPath
from ..compare import libdarknet
from ..compare.backends import detect
from ..compare.matching import match_boxes
from ..compare.report import compare_models, relative_difference
from ..data.class_names import ClassNames
from ..data.dataset import Dataset
from ..detector import Detector
from ..diagram.drawing import draw_diagram
from ..errors import DarknetError, list_first
from ..evaluation import plots
from ..evaluation.evaluator import evaluate
from ..evaluation.scores import Protocol
from ..figures import to_png
from ..hub.model_files import Model
from ..images import resizing
from ..images.reading import read_image
from ..inference.benchmark import open_runtimes
from ..inference.timing import time_interleaved
from ..network import Network, fresh_state
from ..weights.containers import is_container
from ..weights.diagnostics import count_non_finite
from .contents import FileFacts, LayerFacts, ModelReport, RuntimeFacts

_EXAMPLES = 4  # images of the data set that are shown
_SIDE = 480  # pixels of a shown image
_TOLERANCE = 1e-4  # relative difference of layers from which C and this package do not agree


def collect(
    network: Network,
    model: Model,
    *,
    data: Dataset | None = None,
    images: Sequence[StrPath] = (),
    names: ClassNames = None,
    unread: Sequence[str] = (),
    threshold: float = 0.25,
    repeats: int = 10,
    progress: Callable[[str], object] | None = None,
) -> ModelReport:
    """Measure what a report says of a model.

    Args:
        network: The network with its weights.
        model: Its files.
        data: What it is evaluated on; its first images are examples if there are no ``images``.
        images: Files of example images. The first is the input of all runtimes; without any, that is noise.
        names: Class names; None: those of the network or data set.
        unread: What reading the cfg has warned of, as ``UnusedOptionWarning``.
        threshold: Score threshold of boxes.
        repeats: Runs of which the median time is taken.
        progress: Called with what is done next.

    Raises:
        DarknetError: An image or the data set cannot be read.
    """
    say = progress or (lambda _: None)
    report = ModelReport(pathlib.Path(os.fspath(model.cfg)).stem)
    say("files and layers")
    report.unread = [*unread, *map(str, network.ineffective_options())]
    _add_files(report, network, model)
    _add_diagram(report, network)
    paths = list(images) or ([sample.image for sample in data][:_EXAMPLES] if data is not None else [])
    x = _make_input(report, network, paths)
    say("C Darknet")
    _add_darknet(report, network, model, paths[0] if paths else None, threshold)
    say("runtimes")
    _add_runtimes(report, network, x, threshold, repeats)
    if network.heads and paths:
        say("example images")
        names = names or network.names or (data.names if data is not None else None) or None
        detector = Detector(network, names=names, threshold=threshold)
        report.examples = [(os.fspath(path), _to_jpeg(detector(path).plot())) for path in paths]
    if data is not None and network.heads:
        _add_evaluations(report, network, data, threshold, say)
    return report


def _add_files(report: ModelReport, network: Network, model: Model) -> None:
    """Files, what of the weights belongs to which layer, and NaN and Inf."""
    report.files = [_describe_file(path) for path in (model.cfg, model.weights) if path is not None]
    arrays = list(weights.stored(network, writing=True))
    stored = 4 * sum(array.tensor.numel() for array in arrays)
    is_darknets = model.weights is not None and not is_container(model.weights)
    if is_darknets:
        report.header = report.files[-1].size - stored
    sizes: dict[int, int] = {}
    for array in arrays:
        sizes[array.layer] = sizes.get(array.layer, 0) + 4 * array.tensor.numel()
    first = report.header
    for number, layer in enumerate(network):
        size = sizes.get(number, 0)
        section = network.config.sections[number + 1].name
        output = layer.shape.describe()
        report.layers.append(LayerFacts(number, section, layer.describe(), output, layer.flops / 1e9, first, size))
        first += size
    if is_darknets and report.header not in (16, 20):
        report.problems.append(
            f"{report.files[-1].path}: {report.header} bytes do not belong to a layer: expected a header of 16 or 20"
        )
    counts = count_non_finite(arrays)
    for where, (nan, inf) in counts.items():
        report.problems.append(f"{where}: {nan:,} NaN and {inf:,} Inf in its weights")
    nan, inf = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
    report.summary = [
        ("input", network.shape.describe()),
        ("layers", f"{len(report.layers)}, {network.flops / 1e9:.3f} BFLOPS"),
        ("stored numbers", f"{stored // 4:,} float32, of them {nan:,} NaN and {inf:,} Inf"),
        ("images seen in training", f"{network.seen:,}"),
        ("dialect", str(network.dialect)),
    ]
    if is_darknets:
        total = f"{report.header} bytes of header + {stored:,} bytes of layers = {report.header + stored:,}"
        report.summary.append(("weights file", f"{total}, of {report.files[-1].size:,} bytes"))
    if network.heads:
        heads = [
            f"layer {i} [{network.config.sections[i + 1].name}]"
            for i, layer in enumerate(network)
            if any(layer is head for head in network.heads)
        ]
        report.summary.append(("heads", f"{', '.join(heads)}; {network.heads[-1].classes} classes"))


def _describe_file(path: StrPath) -> FileFacts:
    content = pathlib.Path(path).read_bytes()
    return FileFacts(os.fspath(path), len(content), hashlib.sha256(content).hexdigest())


def _add_diagram(report: ModelReport, network: Network) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "diagram.svg"
        try:
            draw_diagram(network, path, title=report.title)
        except DarknetError as error:
            report.notes.append(f"no diagram: {error}")
            return
        text = path.read_text("utf-8")
    report.diagram = text[text.index("<svg") :]


def _make_input(report: ModelReport, network: Network, paths: Sequence[StrPath]) -> Tensor:
    """The input of all runtimes, float32 [1, channels, height, width] in 0..1, on the network's device."""
    shape = network.shape
    if paths and shape.height:
        report.input = f"{os.fspath(paths[0])}, resized to {shape.width} x {shape.height}"
        image = read_image(paths[0], shape.channels)
        x = resizing.prepare_input(image, (shape.width, shape.height))[None]
    else:
        report.input = "uniform noise in 0..1, seed 0"
        x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    return x.to(next(network.parameters(), x).device)


def _add_darknet(report: ModelReport, network: Network, model: Model, image: StrPath | None, threshold: float) -> None:
    """Compare every layer with the installed C library.

    A library of another fork may not have what the cfg needs, so that its differences are no problem of the model.
    """
    if model.weights is None or is_container(model.weights):
        report.notes.append("not compared with C Darknet, which reads no checkpoints")
        return
    files = f"{os.fspath(model.cfg)},{os.fspath(model.weights)}"
    try:
        library = libdarknet.find_library()
        dialect = libdarknet.detect_dialect(library)
        name = f"C Darknet ({dialect}, {os.path.basename(library)})"
        found = compare_models(files, f"darknet:{files}", image=image, threshold=threshold, tolerance=_TOLERANCE)
    except DarknetError as error:
        report.notes.append(f"not compared with C Darknet: {error}")
        return
    differences = {layer.number: layer.difference for layer in found.layers}
    report.layers = [replace(layer, difference=differences.get(layer.number)) for layer in report.layers]
    compared = [difference for difference in differences.values() if difference is not None]
    fork = "" if dialect is network.dialect else f"another fork than the cfg's dialect ({network.dialect}); "
    note = f"{fork}{len(compared)} of {len(report.layers)} layers compared"
    if found.first is not None:
        causes = f": {list_first(found.causes, 1)}" if found.causes else ""
        note += f"; above {_TOLERANCE:g} from layer {found.first.number} [{found.first.section}] on{causes}"
    report.runtimes.append(RuntimeFacts(name, found.boxes, max(compared, default=None), None, note))
    if dialect is not network.dialect:
        return
    if found.boxes is not None and not found.boxes.is_same:
        report.problems.append(f"{name}: other boxes than this package")
    elif found.boxes is None and found.first is not None:
        report.problems.append(f"{name}: other outputs than this package from layer {found.first.number} on")


def _add_runtimes(report: ModelReport, network: Network, x: Tensor, threshold: float, repeats: int) -> None:
    """Run and time the network in each installed runtime; outputs are compared with those of the layers themselves."""
    size = (x.shape[3], x.shape[2])
    with torch.inference_mode(), fresh_state(network):
        expected = [y.cpu() for y in network.predict(x)]
    boxes = detect(network, expected, size, threshold, 0.45) if network.heads else None
    with open_runtimes(network) as runs:
        outputs_of = {}
        for name, run in runs.items():
            with fresh_state(network):  # before the timed runs, which leave one
                outputs_of[name] = run(x)
        times = time_interleaved(runs, x, repeats=repeats)
        for name in runs:
            ms = statistics.median(times[name])
            if name == "opencv":  # its outputs are of another form
                report.runtimes.append(RuntimeFacts(name, ms=ms, note="only timed"))
                continue
            outputs = [y.float().cpu() for y in outputs_of[name]]
            pairs = zip(expected, outputs, strict=True)
            difference = max((relative_difference(a, b) for a, b in pairs), default=None)
            matches = None
            if boxes is not None:
                matches = match_boxes(boxes, detect(network, outputs, size, threshold, 0.45), size, threshold)
                if not matches.is_same:
                    report.problems.append(f"{name}: other boxes than the layers themselves")
            report.runtimes.append(RuntimeFacts(name, matches, difference, ms))


def _add_evaluations(
    report: ModelReport, network: Network, data: Dataset, threshold: float, say: Callable[[str], object]
) -> None:
    """mAP by each protocol, and the curves of the first."""
    for protocol in Protocol:
        say(f"mAP, protocol {protocol}")
        try:
            found = evaluate(network, data, engine="torch", protocol=protocol, threshold=threshold, progress=False)
        except (ImportError, DarknetError) as error:
            report.notes.append(f"no mAP by the protocol {protocol}: {error}")
            continue
        report.evaluations.append(found)
    if not report.evaluations:
        return
    try:
        report.curves = [
            (title, to_png(plot(report.evaluations[0])))
            for title, plot in (
                ("Precision over recall", plots.plot_precision_recall),
                ("F1 over threshold", plots.plot_f1),
                ("Confusion matrix", plots.plot_confusion_matrix),
            )
        ]
    except ImportError as error:
        report.notes.append(f"no curves: {error}")


def _to_jpeg(image: Image.Image) -> bytes:
    image.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    image.save(content, format="JPEG", quality=88)
    return content.getvalue()
