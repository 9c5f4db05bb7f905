"""Classifiers: ``classifier predict``, ``label``, ``csv``, ``fout``, ``test``, ``try`` and ``valid``; ``classify``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ...errors import DataError
from .. import _output
from . import function, network_loader, read_data
from .detector_test import read_paths

if TYPE_CHECKING:
    from ...classifier import Classifier
    from ...data.data_file import DataFile


def _classifier(
    args: argparse.Namespace, options: DataFile, *, letterbox: bool | None = None, leaves: bool | None = None
) -> Classifier:
    from ...classifier import Classifier

    names = options.get_path("names" if "names" in options.values else "labels")
    return Classifier(network_loader(args), names=names, letterbox=letterbox, leaves=leaves, max_pixels=args.max_pixels)


@function("classifier predict", "data cfg weights image*", "-t -max_pixels")
def run_predict(args: argparse.Namespace) -> int:
    """Classify images: classifier predict DATA CFG WEIGHTS IMAGE -t 5.

    Without IMAGE, paths are read from stdin, one per line. ``-t`` is the number of classes to print (default: top= of
    DATA, otherwise 1).
    """
    options = read_data(args)
    classifier = _classifier(args, options)
    top = args.t or options.get_int("top", 1)
    errors = _output.ErrorLog()
    for result in classifier.stream(args.image or read_paths(), on_error=errors.add):
        print(result.to_text(top, classifier.architecture.dialect), flush=True)
    return errors.status()


@function("classify", "cfg weights image*", "-t -max_pixels")
def run_classify(args: argparse.Namespace) -> int:
    """Classify images with a network for ImageNet: classify CFG WEIGHTS IMAGE, with cfg/imagenet1k.data, top 5."""
    args.data = "cfg/imagenet1k.data"
    args.t = args.t or 5
    return run_predict(args)


def _test_images(options: DataFile) -> list[str]:
    from ...text_files import read_list

    if "test" not in options.values:
        raise DataError(f"{options.path}: expected a line test = LIST with the images")
    return list(read_list(options.get_path("test")))


@function("classifier label", "data cfg weights", "-max_pixels")
def run_label(args: argparse.Namespace) -> int:
    """Print the name of the most probable class of each image of the test list: classifier label DATA CFG WEIGHTS."""
    options = read_data(args)
    errors = _output.ErrorLog()
    for result in _classifier(args, options).stream(_test_images(options), on_error=errors.add):
        print(result.top(1)[0][1], flush=True)
    return errors.status()


@function("classifier test", "data cfg weights", "-max_pixels")
def run_test(args: argparse.Namespace) -> int:
    """Print the outputs for each image of the test list: classifier test DATA CFG WEIGHTS.

    A line is the path and the probabilities, separated by tabs. The image is stretched to the network's input.
    """
    import torch

    from ...classifier import predict_probabilities
    from ...images.resizing import prepare_input

    options = read_data(args)
    classifier = _classifier(args, options)
    shape = classifier.architecture.shape
    errors = _output.ErrorLog()
    for path in _test_images(options):
        try:
            x = prepare_input(classifier.read_image(path), (shape.width, shape.height))
        except DataError as error:
            errors.add(error)
            continue
        probs = predict_probabilities(classifier.network, torch.stack([x]))[0]
        print("\t".join([path, *(f"{value:g}" for value in probs.tolist())]), flush=True)
    return errors.status()


@function("classifier csv", "data cfg weights", "-max_pixels")
def run_csv(args: argparse.Namespace) -> int:
    """Print the numbers of the most probable classes of each image of the test list: classifier csv DATA CFG WEIGHTS.

    A line is the path and as many numbers as ``top=`` of DATA says (1), separated by tabs. The image is letterboxed.
    """
    options = read_data(args)
    classifier = _classifier(args, options, letterbox=True, leaves=True)
    errors = _output.ErrorLog()
    for result in classifier.stream(_test_images(options), on_error=errors.add):
        numbers = (str(number) for number, _, _ in result.top(options.get_int("top", 1)))
        print("\t".join([result.path, *numbers]), flush=True)
    return errors.status()


@function("classifier fout", "data cfg weights list", "-max_pixels")
def run_fout(args: argparse.Namespace) -> int:
    """Print the outputs for each image of a list: classifier fout DATA CFG WEIGHTS LIST.

    A line is the path and the probabilities, separated by tabs. The network sees the centre of the image.
    """
    from ...text_files import read_list

    options = read_data(args)
    classifier = _classifier(args, options, letterbox=False, leaves=False)
    errors = _output.ErrorLog()
    for result in classifier.stream(read_list(args.list), on_error=errors.add):
        probs = result.probs[: options.get_int("classes", 2)].tolist()
        print("\t".join([result.path, *(f"{value:g}" for value in probs)]), flush=True)
    return errors.status()


_MEAN = (0.48263312050943, 0.45230225481413, 0.40099074308742)  # of ImageNet's channels, in ``try_classifier``
_STD = (0.22590347483426, 0.22120921437787, 0.22103996251583)


@function("classifier try", "data cfg weights image layer", "-max_pixels")
def run_try(args: argparse.Namespace) -> int:
    """Print the outputs of a layer for an image: classifier try DATA CFG WEIGHTS IMAGE LAYER.

    The image is the centre of 224 x 224 pixels at a short side of 256, normalised with ImageNet's mean and deviation.
    """
    import torch

    from ...images.resizing import centre_crop, to_tensor
    from ...network import evaluating

    options = read_data(args)
    classifier = _classifier(args, options)
    network = classifier.network
    if not args.layer.isdecimal() or int(args.layer) >= len(network.layers):
        raise DataError(f"LAYER: expected 0..{len(network.layers) - 1}, got {args.layer!r}")
    image = centre_crop(to_tensor(classifier.read_image(args.image)), 256, 256)[:, 16:240, 16:240]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (_MEAN, _STD))
    x = ((image - mean) / std)[None].to(next(network.parameters()).device)
    layer = network[int(args.layer)]
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with evaluating(network), torch.inference_mode():
        outputs = network(x)
    handle.remove()
    arrays = dict(layer.stored())
    if "rolling_mean" in arrays:
        columns = (arrays[name].tolist() for name in ("rolling_mean", "rolling_variance", "scales"))
        for mean_, variance, scale in zip(*columns, strict=True):
            print(f"{mean_:f} {variance:f} {scale:f}")
    for value in seen[0].flatten().tolist():
        print(f"{value:f}")
    probs = outputs[-1].flatten()
    for number in probs.argsort(descending=True, stable=True)[: options.get_int("top", 1)].tolist():
        print(f"{classifier.names[number]}: {probs[number]:f}")
    return 0


def _add_valid(name: str) -> None:
    @function(f"classifier {name}", "data cfg weights", "-topk -max_pixels")
    def run_valid(args: argparse.Namespace) -> int:
        from ...evaluation.accuracy import evaluate_accuracy_on_data

        errors = _output.ErrorLog()
        _, scores = evaluate_accuracy_on_data(
            network_loader(args),
            args.data,
            k=args.topk or 0,
            view=name,
            on_error=errors.add,
            max_pixels=args.max_pixels,
        )
        for so_far in scores:
            print(so_far, flush=True)
        return errors.status()

    run_valid.__doc__ = f"""Compute the accuracy on the valid list: classifier {name} DATA CFG WEIGHTS -topk 5.

    Prints the accuracy so far after each image. With ``leaves=`` in DATA, a file of class names, only these leaves of
    the class tree count."""


for _name in ("valid", "validcrop", "validfull", "validmulti", "valid10"):
    _add_valid(_name)
