"""Take the parts of YOLOv4's recipe out of a cfg one by one, train each with several seeds, and compare the scores.

    nice python -m benchmarks.ablation freebies specials backbone mini-batch    the paper's tables 4 to 7
    nice python -m benchmarks.ablation without              the whole recipe without one freebie
    python -m benchmarks.ablation --table                   tables and figures of what there is
    python -m benchmarks.ablation --cfg cfgs/yolov4-paper.cfg --data voc.data --set max_batches=20000 -o voc

The default is cfgs/digits-paper.cfg on the images of `darknet-py digits`. benchmarks/ablation_rows.py says each row as
keys of the cfg. A run is one training of one row with one seed. Its result is kept in docs/ablation.json as soon as it
is there, and the same command makes the runs that are missing, and those whose cfg has changed since. Several processes
may share the file, each with other rows (--only) or seeds.

The tables are printed and written into docs/yolov4-recipe.md; docs/ablation-TABLE.png show the scores.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from benchmarks.ablation_backbone import classifier_text, train_backbone, train_options, write_objects
from benchmarks.ablation_rows import Row, all_rows, apply, tables
from benchmarks.study_results import ROOT, Results, replace_table
from darknet_py import DarknetError, Trainer, cfg, evaluate
from darknet_py.cfg import Config
from darknet_py.cfg.editing import replace_values
from darknet_py.demo.digits import write_dataset
from darknet_py.figures import BOLD, GREY, create_figure, style_axes, write_png
from darknet_py.training.callbacks import Callback, StepEvent
from darknet_py.training.resume import build_network

PAGE = ROOT / "docs" / "yolov4-recipe.md"
DIGITS = ROOT / "cfgs" / "digits-paper.cfg"
SEEDS = (0, 1, 2)
QUICK = {"max_batches": "2", "burn_in": "0", "batch": "4"}
METRICS = "AP", "AP50", "AP75"  # IoU of 0.50:0.95, 0.50, 0.75, COCO's protocol


def main(argv: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="freebies, specials, without, backbone, mini-batch")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows, such as 'baseline + M' (default: all)")
    parser.add_argument("--cfg", type=pathlib.Path, default=DIGITS, help="cfg with the whole recipe")
    parser.add_argument("--data", type=pathlib.Path, help=".data file; that of `darknet-py digits` if not given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option of [net] in all rows")
    parser.add_argument("--weights", type=pathlib.Path, help="weights from which all rows start, layer by layer")
    parser.add_argument("--weights-cfg", type=pathlib.Path, help="cfg of --weights, if it is another one")
    parser.add_argument("--table", action="store_true", help="train nothing, print the tables and draw the figures")
    parser.add_argument("--quick", action="store_true", help="a few iterations of one seed, to try the script")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="folder of results and figures (default: docs)")
    args = parser.parse_args(argv)
    is_digits = args.cfg.resolve() == DIGITS
    if not args.output and (args.quick or args.data or args.set or args.weights or not is_digits):
        parser.error(
            "other runs than those of docs/yolov4-recipe.md need -o, so that their scores do not get into docs"
        )
    if not is_digits and not args.data and not args.table:
        parser.error("--cfg: needs --data")
    values = dict(item.partition("=")[::2] for item in args.set) | (QUICK if args.quick else {})
    config = cfg.load(args.cfg)
    config = cfg.loads(replace_values(config, {0: values}), config.path)
    chosen = tables(config, is_digits=is_digits)
    if unknown := sorted(set(args.tables) - set(chosen)):
        parser.error(f"{', '.join(unknown)}: expected {', '.join(chosen)}")
    chosen = {name: chosen[name] for name in args.tables or chosen}
    rows = all_rows(chosen)
    if unknown := sorted(set(args.only or ()) - set(rows)):
        parser.error(f"--only: {', '.join(unknown)}: expected {', '.join(rows)}")
    torch.set_num_threads(1)
    folder = args.output or ROOT / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder / "ablation.json")
    failed = 0 if args.table else train_missing(config, [rows[name] for name in args.only or rows], args, results)
    for name, members in chosen.items():
        text = table(members, results.read())
        print(f"{name}\n\n{text}\n")
        draw(name, members, results.read(), folder / f"ablation-{name}.png")
        if not args.output:
            replace_table(PAGE, name, text)
    return 1 if failed else 0


class Run(NamedTuple):
    """A row's cfg, that of the classifier whose backbone it starts from, and the file whose hash the result has."""

    row: Row
    cfg: pathlib.Path
    classifier: pathlib.Path | None
    hashed: pathlib.Path


def write_cfgs(config: Config, row: Row, folder: pathlib.Path) -> Run:
    """Write the cfgs of a row into a new folder."""
    folder.mkdir()
    detector, classifier, both = (folder / f"{name}.cfg" for name in ("detector", "classifier", "both"))
    text = apply(config, row.edits)
    detector.write_text(text, encoding="utf-8")
    if row.classifier is None:
        return Run(row, detector, None, detector)
    backbone = classifier_text(config, row.classifier)
    classifier.write_text(backbone, encoding="utf-8")
    both.write_text(f"{text}\n{backbone}", encoding="utf-8")
    return Run(row, detector, classifier, both)


def train_missing(config: Config, rows: Sequence[Row], args: argparse.Namespace, results: Results) -> int:
    """Train what has no score yet, one seed of all rows before the next; return the number of runs that failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent)
        runs = [write_cfgs(config, row, folder / str(number)) for number, row in enumerate(rows)]
        seeds = args.seeds[:1] if args.quick else args.seeds
        missing = [(run, seed) for seed in seeds for run in runs if not results.has(run.hashed, run.row.name, seed)]
        data = args.data or (digits(folder / "digits", is_quick=args.quick) if missing else folder)
        for number, (run, seed) in enumerate(missing, start=1):
            name = run.row.name
            if results.has(run.hashed, name, seed):
                continue  # another process was faster
            label = f"{name}, seed {seed} ({number} of {len(missing)})"
            started = time.process_time()
            try:
                scores = train(run, data, seed, label, args)
            except DarknetError as error:  # a loss that is NaN: the other rows go on
                print(f"{label}: {error}", file=sys.stderr, flush=True)
                failed += 1
                continue
            seconds = time.process_time() - started
            results.add(run.hashed, name, seed, scores["AP"], seconds, AP50=scores["AP50"], AP75=scores["AP75"])
            text = ", ".join(f"{metric} {100 * scores[metric]:.2f}" for metric in METRICS)
            print(f"{label}: {text}, {seconds:.0f} s of CPU time", file=sys.stderr, flush=True)
    return failed


def digits(folder: pathlib.Path, *, is_quick: bool) -> pathlib.Path:
    """Draw the data set of `darknet-py digits`; return its .data file."""
    print("drawing the data set", file=sys.stderr)
    sizes = {"train": 8, "valid": 4} if is_quick else {}
    return write_dataset(folder, progress=True, **sizes)


def train(run: Run, data: pathlib.Path, seed: int, label: str, args: argparse.Namespace) -> Mapping[str, float]:
    """Train a row as `darknet-py train` does; return COCO's numbers on the validation images."""
    network = build_network(run.cfg, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        start: dict[str, Any] = {}
        if run.classifier:
            objects = write_objects(data, pathlib.Path(folder) / "objects")
            progress = Progress(f"{label}, classifier")
            start = {"weights": train_backbone(run.classifier, objects, seed, pathlib.Path(folder), [progress])}
        elif args.weights:
            start = {"weights": args.weights, "weights_cfg": args.weights_cfg, "transfer": True}
        options = train_options(network, seed, pathlib.Path(folder), **start)
        Trainer(network, data, options, [Progress(label)]).run()
    return evaluate(network.eval(), data, protocol="coco", progress=False).coco


class Progress(Callback):
    """Say how far a run is on stderr, every hundred iterations."""

    def __init__(self, label: str) -> None:
        self.label = label

    def on_step(self, event: StepEvent) -> None:
        """After an iteration, with its loss per image."""
        if event.iteration % 100 == 0:
            text = f"{self.label}: iteration {event.iteration}, loss {event.metrics.loss:.3f}"
            print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Row], entries: Mapping[str, Any]) -> str:
    """Return the Markdown table of some rows: mean and standard deviation of the seeds.

    The change of AP is the mean of the differences from the first row, seed by seed.
    """
    lines = ["| | AP | change | AP50 | AP75 | seeds |", "|---|---:|---:|---:|---:|---:|"]
    first = entries.get(rows[0].name, {}).get("scores", {})
    for row in rows:
        entry = entries.get(row.name, {})
        scores = entry.get("scores", {})
        changes = [scores[seed] - first[seed] for seed in scores if seed in first and row is not rows[0]]
        cells = [row.name, spread(scores.values()), spread(changes, sign="+")]
        cells += [spread(entry.get(metric, {}).values()) for metric in METRICS[1:]]
        lines.append(f"| {' | '.join([*cells, str(len(scores))])} |")
    return "\n".join(lines)


def spread(values: Any, sign: str = "") -> str:
    """Return mean and standard deviation of shares, in per cent."""
    percents = [100 * value for value in values]
    if not percents:
        return ""
    deviation = f" ± {statistics.stdev(percents):.2f}" if len(percents) > 1 else ""
    return f"{statistics.mean(percents):{sign}.2f}{deviation}"


def draw(name: str, rows: Sequence[Row], entries: Mapping[str, Any], path: pathlib.Path) -> None:
    """Draw AP row by row: the mean, a bar from the lowest to the highest, and a line at the first row's mean."""
    scores = {row.name: [100 * value for value in entries.get(row.name, {}).get("scores", {}).values()] for row in rows}
    scores = {label: values for label, values in scores.items() if values}
    if not scores:
        return
    figure, axes = create_figure(
        f"YOLOv4's recipe: {name}", "AP at IoU 0.50:0.95 in per cent, mean and range of the seeds"
    )
    for place, values in enumerate(scores.values()):
        mean = statistics.mean(values)
        bars = [[mean - min(values)], [max(values) - mean]]
        axes.errorbar([mean], [place], xerr=bars, fmt="o", color=BOLD, capsize=3)
    if rows[0].name in scores:
        axes.axvline(statistics.mean(scores[rows[0].name]), color=GREY, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(scores)), list(scores))
    axes.invert_yaxis()
    style_axes(axes, "AP (%)", "")
    write_png(figure, path)


if __name__ == "__main__":
    raise SystemExit(main())
