"""Train small networks on digits with several seeds, and compare parameters, operations, milliseconds and scores.

    nice python -m benchmarks.study necks        detectors of cfgs/necks: mAP@0.50 on the images of `darknet-py digits`
    nice python -m benchmarks.study csp          classifiers of cfgs/csp: accuracy on the 1,797 digits themselves
    python -m benchmarks.study necks --time      milliseconds as well, on an idle machine
    python -m benchmarks.study necks --table     the table and figure of what there is; nothing is trained

A run is one training of one network with one seed. Its result is kept in docs/STUDY.json as soon as it is there. The
same command makes the runs that are missing, and those whose cfg has changed since, so a study that was cut short is
completed by it. Several processes may share the file, each with other networks (--only) or seeds.

The table is printed and written into docs/architectures.md; docs/STUDY.png shows the scores over the operations.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.study_results import ROOT, Results, Study, add_times, draw, replace_table, table
from darknet_py import DarknetError, Network, Trainer, evaluate
from darknet_py.demo.digits import CLASS_NAMES, load_samples, write_dataset
from darknet_py.training.resume import build_network

PAGE = ROOT / "docs" / "architectures.md"
SEEDS = (0, 1, 2)
QUICK_ITERATIONS = 4
TRAIN_IMAGES = 6400  # of the necks, which overfit fewer
CELLS, SIDE = 8, 32  # pixels of a digit in the package, and of an image of the classifiers
LEVELS = 255


def main(argv: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks (default: all)")
    parser.add_argument("--data", type=pathlib.Path, help=".data file of `darknet-py digits`; it is made if not given")
    parser.add_argument("--time", action="store_true", help="measure milliseconds, interleaved, on one thread")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table and draw the figure")
    parser.add_argument("--quick", action="store_true", help="a few iterations of one seed, to try the script")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="folder of STUDY.json and STUDY.png (default: docs)")
    args = parser.parse_args(argv)
    study, _ = STUDIES[args.study]
    names = args.only or study.networks
    if unknown := sorted(set(names) - set(study.networks)):
        parser.error(f"--only: {', '.join(unknown)}: expected {', '.join(study.networks)}")
    if args.quick and not args.output:
        parser.error("--quick: needs -o, so that its scores do not get into docs")
    torch.set_num_threads(1)
    folder = args.output or ROOT / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder / f"{args.study}.json")
    if not args.table:
        train_missing(study, names, args, results)
    if args.time:
        results.update(lambda entries: add_times(study, entries))
    text = table(study, results.read())
    print(text)
    draw(study, results.read(), folder / f"{study.name}.png")
    if not args.output:
        replace_table(PAGE, study.name, text)
    return 0


def train_missing(study: Study, names: Sequence[str], args: argparse.Namespace, results: Results) -> None:
    """Train what has no score yet, one seed of all networks before the next."""
    seeds = args.seeds[:1] if args.quick else args.seeds
    runs = [(name, seed) for seed in seeds for name in names if not results.has(study.path(name), name, seed)]
    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if runs and study.name == "necks" and data is None:
            print("drawing the data set", file=sys.stderr)
            sizes = {"train": 32, "valid": 8} if args.quick else {"train": TRAIN_IMAGES}
            data = write_dataset(folder, progress=True, **sizes)
        for number, (name, seed) in enumerate(runs, start=1):
            path = study.path(name)
            if results.has(path, name, seed):
                continue  # another process was faster
            label = f"{study.name}/{name}, seed {seed} ({number} of {len(runs)})"
            values = {"max_batches": str(QUICK_ITERATIONS), "burn_in": "0"} if args.quick else {}
            network = build_network(path, values=values, seed=seed)
            started = time.process_time()
            score = STUDIES[study.name][1](network, data, seed, Progress(label))
            seconds = time.process_time() - started
            results.add(path, name, seed, score, seconds)
            print(f"{label}: {study.metric} {100 * score:.2f}, {seconds:.0f} s of CPU time", file=sys.stderr)


class Progress:
    """Say how far a run is on stderr, every hundred iterations."""

    def __init__(self, label: str) -> None:
        self.label = label

    def __call__(self, iteration: int, loss: float) -> None:
        """After an iteration, with its loss per image."""
        if iteration % 100 == 0:
            print(f"{self.label}: iteration {iteration}, loss {loss:.3f}", file=sys.stderr, flush=True)


def train_detector(network: Network, data: pathlib.Path | None, seed: int, progress: Progress) -> float:
    """Train on the images of a .data file; return mAP@0.50 on its validation images.

    The images are kept in memory and not augmented, which would take as long as the training itself.
    """
    if data is None:
        raise DarknetError("detectors are trained on the images of a .data file")
    images, targets = load_images(data.with_name("train.txt"))
    if images.shape[1:] != tuple(network.shape):
        images = F.interpolate(images, network.shape[1:], mode="bilinear", align_corners=False)
    train(network, lambda chosen: [targets[i] for i in chosen], images, seed, progress)
    return evaluate(network.eval(), data, progress=False).map


def train_classifier(network: Network, data: pathlib.Path | None, seed: int, progress: Progress) -> float:
    """Train on the training digits of the package; return the accuracy on the others. ``data`` is not used."""
    images, digits = load_digits("train")
    targets = F.one_hot(digits, len(CLASS_NAMES)).float()
    train(network, lambda chosen: targets[chosen], images, seed, progress)
    images, digits = load_digits("valid")
    with torch.inference_mode():
        predicted = network.eval()(images)[0].flatten(1).argmax(dim=1)
    return float((predicted == digits).double().mean())


def train(
    network: Network,
    targets: Callable[[list[int]], Tensor | list[Tensor]],
    images: Tensor,
    seed: int,
    progress: Progress,
) -> None:
    """Make the iterations of the network's cfg on images that are drawn without replacement, epoch after epoch."""
    # On a CPU, convolutions and batch norm of small maps are about a third faster in this layout.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(seed)
    trainer = Trainer(network)
    order: list[int] = []
    for iteration in range(1, network.options.max_batches + 1):
        if len(order) < network.options.batch:
            order = torch.randperm(len(images)).tolist()
        chosen, order = order[: network.options.batch], order[network.options.batch :]
        cost = trainer.step([(images[chosen], targets(chosen))])
        progress(iteration, cost / network.options.batch)


def load_images(listing: pathlib.Path) -> tuple[Tensor, list[Tensor]]:
    """Return the images of a list of `darknet-py digits`, float [n, 3, 96, 96], and [m, 5] cx cy w h class of each."""
    files = [listing.parent / line for line in listing.read_text(encoding="utf-8").split()]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    labels = [np.loadtxt(file.with_suffix(".txt"), np.float32, ndmin=2) for file in files]
    targets = [torch.from_numpy(rows[:, [1, 2, 3, 4, 0]]) for rows in labels]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / LEVELS, targets


def load_digits(subset: str) -> tuple[Tensor, Tensor]:
    """Return images, float [n, 1, 32, 32] in 0..1, and their digits, int64 [n]; ``subset`` is "train" or "valid"."""
    samples = load_samples()[subset]
    cells = torch.cat([torch.as_tensor(array) for array in samples]).float().reshape(-1, 1, CELLS, CELLS)
    images = F.interpolate(cells, (SIDE, SIDE), mode="bicubic", align_corners=False)
    digits = torch.cat([torch.full((len(array),), digit) for digit, array in enumerate(samples)])
    return images.clamp(0, 1), digits


CSP = Study("csp", "accuracy", ("dense", "partial", "fusion-first", "fusion-last"))
NECKS = Study(
    "necks",
    "mAP@0.50",
    (
        "fpn", "none", "fpn-p2-p6", "pan-add", "pan-concat", "bifpn", "asff", "sfam", "efm",
        "spp", "aspp", "rfb", "sam-space", "sam-point", "se",
    ),
)  # fmt: skip
STUDIES: dict[str, tuple[Study, Callable[[Network, pathlib.Path | None, int, Progress], float]]] = {
    "csp": (CSP, train_classifier),
    "necks": (NECKS, train_detector),
}

if __name__ == "__main__":
    raise SystemExit(main())
