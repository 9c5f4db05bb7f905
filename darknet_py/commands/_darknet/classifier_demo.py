"""Classify the frames of a video: ``classifier demo``."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack

from .. import _output, _video
from . import function, load_network, read_data


@function("classifier demo", "data cfg weights video?", "-c -max_pixels")
def run_classifier_demo(args: argparse.Namespace) -> int:
    """Classify the frames of a video: classifier demo DATA CFG WEIGHTS VIDEO.

    VIDEO is a file or a URL; without it camera ``-c`` is used. Prints the most probable classes of each frame, as many
    as ``top=`` of DATA says (1). The frame is stretched. No window is opened. Ctrl-C stops after the current frame.
    """
    import torch

    from ...classifier import Classification, num_classes, predict_probabilities, require_classifier
    from ...data.class_names import resolve_class_names
    from ...images.resizing import prepare_input
    from ...network import fresh_state
    from ...signals import DeferredSignals
    from ...video.reader import open_video

    options = read_data(args)
    network = load_network(args)
    require_classifier(network)
    path = options.get_path("names" if "names" in options.values else "labels")
    names = resolve_class_names(path, num_classes(network), exact=False)
    top = min(options.get_int("top", 1), num_classes(network))
    size = network.shape.width, network.shape.height
    clear = "\033[H\033[J" if sys.stdout.isatty() else ""
    fps = 0.0
    errors = _output.ErrorLog()
    print("Classifier Demo", flush=True)
    source = args.c if args.video is None else args.video
    with ExitStack() as stack:
        video = stack.enter_context(open_video(source, max_pixels=args.max_pixels))
        signals = stack.enter_context(DeferredSignals(video.stop))
        stack.enter_context(fresh_state(network))
        for frame in _video.report_end(video, errors):
            started = time.perf_counter()
            x = torch.stack([prepare_input(frame.image, size)])
            result = Classification(predict_probabilities(network, x, leaves=True)[0], names)
            lines = [f"{100 * prob:.1f}%: {name}" for _, name, prob in result.top(top)]
            print("\n".join([f"{clear}\rFPS: {fps:.2f}", *lines, ""]), flush=True)
            current = 1 / max(time.perf_counter() - started, 1e-9)
            fps = 0.9 * fps + 0.1 * current if fps else current
    return 130 if signals.received else errors.status("video")
