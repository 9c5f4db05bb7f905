#!/usr/bin/env python3
"""Break the code in one place at a time, and see that a test notices.

    tools/check mutants                   every mutation of the table
    tools/check mutants ema tiling        those of these features
    tools/check mutants --list            the table

Each mutation replaces a text that occurs once in a file, in a copy of the checkout; the test named with it must fail
there. A mutation that no test notices (it survives) is an error, as is a text that is not found exactly once: whoever
changes such a line changes the table with it. Tests that need ../shared are skipped in the copy, so a fresh clone gives
the same result.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT = 600
_TESTS_PASSED, _TESTS_FAILED = 0, 1  # exit codes of pytest


class Mutation(NamedTuple):
    """A change that the tests must notice.

    Attributes:
        feature: what it is part of; a word for the command line.
        file: path in the checkout, below darknet_py.
        old: the text that is replaced; it occurs once in the file.
        new: what takes its place.
        tests: pytest's arguments for the tests of which one must fail, relative to tests/.
    """

    feature: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS: list[Mutation] = [
    Mutation(*row)
    for row in (
        (
            "ema",
            "training/optimizer.py",
            "self._parameters, 1 - alpha)",
            "self._parameters, alpha)",
            "training/test_ema.py",
        ),
        (
            "ema",
            "training/optimizer.py",
            "iteration < max_batches // 2:",
            "iteration < max_batches // 3:",
            "training/test_ema.py",
        ),
        (
            "ema",
            "training/optimizer.py",
            "            torch._foreach_copy_(self._parameters, self.tensors)\n        elif",
            "            pass\n        elif",
            "training/test_ema.py",
        ),
        (
            "ema",
            "training/optimizer.py",
            "        elif iteration < max_batches - _EMA_TAIL:",
            "        else:",
            "training/test_ema.py",
        ),
        (
            "ema",
            "training/optimizer.py",
            "                torch._foreach_copy_(self._parameters, own)",
            "                pass",
            "training/test_ema.py",
        ),
        ("ema", "training/run.py", "with self.trainer.ema.applied():", "if True:", "training/test_ema.py"),
        (
            "clear",
            "training/train.py",
            "            network.seen = 0\n",
            "            pass\n",
            "training/test_progress.py::test_clear_starts_at_iteration_0",
        ),
        ("log", "training/run.py", "_KEPT = 0.9", "_KEPT = 0.99", "training/test_progress.py"),
        (
            "log",
            "training/run.py",
            "loss if fresh else",
            "loss if math.isfinite(loss) else",
            "training/test_progress.py",
        ),
        (
            "log",
            "training/run.py",
            "dtype=torch.float32, device=device))) / images",
            "dtype=torch.float32, device=device)))",
            "training/test_progress.py",
        ),
        (
            "log",
            "training/run.py",
            "(self.last - iteration) * whole / self._trained",
            "(self.last - iteration + 1) * whole / self._trained",
            "training/test_progress.py",
        ),
        ("log", "training/run.py", "/ self._trained / 3600", "/ 3600", "training/test_progress.py"),
        (
            "saving",
            "training/run.py",
            "self._saved > 60 * self.settings.minutes",
            "self._saved > 600 * self.settings.minutes",
            "training/test_progress.py",
        ),
        (
            "saving",
            "training/run.py",
            "self._saved, iteration = time.monotonic(), self.trainer.iteration",
            "iteration = self.trainer.iteration",
            "training/test_progress.py",
        ),
        (
            "saving",
            "training/run.py",
            "better = score >= self.best",
            "better = score > self.best + 1",
            "training/test_run.py::test_darknets_line_trains",
        ),
        (
            "seed",
            "training/run.py",
            "batch.iteration, self.team.rank))",
            "batch.iteration))",
            "training/test_progress.py",
        ),
        (
            "seed",
            "training/run.py",
            "_seed(self.settings.seed, batch.iteration,",
            "_seed(self.settings.seed, 0,",
            "training/test_progress.py",
        ),
        ("chart", "training/trainer.py", "top=self.options.max_chart_loss,", "top=20.0,", "training/test_progress.py"),
        (
            "patience",
            "training/run.py",
            "self.waited = 0 if score > self.best else",
            "self.waited = 0 if score >= self.best else",
            "training/test_run.py::test_it_ends_when_map_no_longer_rises",
        ),
        (
            "adversarial",
            "layers/_norm.py",
            "self.training and not (context is not None and context.adversarial)",
            "self.training",
            "training/test_adversarial.py",
        ),
        (
            "adversarial",
            "training/engine.py",
            "self.options.adversarial_lr * context.iteration / max",
            "self.options.adversarial_lr * (context.iteration + 9) / max",
            "training/test_adversarial.py",
        ),
        (
            "adversarial",
            "training/engine.py",
            "self.chance.random() < 0.5",
            "self.chance.random() < 0.3",
            "training/test_adversarial.py",
        ),
        (
            "adversarial",
            "training/engine.py",
            "context.iteration > self.options.burn_in",
            "context.iteration >= self.options.burn_in",
            "training/test_adversarial.py",
        ),
        (
            "adversarial",
            "training/engine.py",
            "(x - strength * gradient).clamp(0, 1)",
            "(x + strength * gradient).clamp(0, 1)",
            "training/test_adversarial.py",
        ),
        (
            "adversarial",
            "training/engine.py",
            "nothing = torch.zeros_like(targets)",
            "nothing = targets",
            "training/test_adversarial.py",
        ),
        (
            "adversarial",
            "layers/heads/_assignment.py",
            "weights = torch.where(ignored, weights, weights * scale)",
            "pass",
            "test_schedule.py",
        ),
        (
            "dropblock",
            "layers/dropout.py",
            "0.85 * context.max_batches",
            "0.5 * context.max_batches",
            "layers/test_dropout.py",
        ),
        (
            "dropblock",
            "layers/dropout.py",
            "self.options.probability * grown / side**2",
            "self.options.probability / side**2",
            "layers/test_dropout.py",
        ),
        (
            "dropblock",
            "layers/dropout.py",
            "int((absolute or _BLOCK) * grown)",
            "int(absolute or _BLOCK)",
            "layers/test_dropout.py",
        ),
        (
            "dropblock",
            "layers/dropout.py",
            "int(relative * height * grown)",
            "int(relative * height)",
            "layers/test_dropout.py",
        ),
        (
            "dropblock",
            "layers/dropout.py",
            "return x * kept / kept.to(x.dtype).mean(dim=(1, 2, 3), keepdim=True)",
            "return x * kept",
            "layers/test_dropout.py",
        ),
        (
            "filters",
            "training/train.py",
            "_SIMILARITY_THRESHOLD = 0.4",
            "_SIMILARITY_THRESHOLD = 0.45",
            "training/test_similar_filters.py",
        ),
        (
            "filters",
            "training/train.py",
            "layers[index + 1 : index + 4]",
            "layers[index + 1 : index + 3]",
            "training/test_similar_filters.py",
        ),
        (
            "filters",
            "training/train.py",
            "self.options.max_batches * 3 // 4",
            "self.options.max_batches",
            "training/test_similar_filters.py",
        ),
        (
            "filters",
            "training/train.py",
            "or self.iteration % every",
            "or (self.iteration + 1) % every",
            "training/test_similar_filters.py",
        ),
        (
            "filters",
            "layers/convolutional.py",
            "best // len(unit), sqrt(2 /",
            "best % len(unit), sqrt(2 /",
            "training/test_similar_filters.py",
        ),
        ("filters", "layers/convolutional.py", "self.biases[row] = 0", "pass", "training/test_similar_filters.py"),
        (
            "nan",
            "training/train.py",
            "gradient.nan_to_num_(0.0, 0.0, 0.0)",
            "gradient.nan_to_num_(0.0)",
            "training/test_nan_check.py",
        ),
        (
            "nan",
            "training/nan_check.py",
            'found.append((self._place(f"layers.{index}."), rows))',
            "pass",
            "training/test_nan_check.py training/test_run.py",
        ),
        (
            "loss_scale",
            "training/loss_scale.py",
            "given if given != 1 else _FIRST",
            "_FIRST",
            "training/test_nan_check.py",
        ),
        (
            "loss_scale",
            "training/loss_scale.py",
            "torch._foreach_mul_(gradients, 1 / self.factor)",
            "pass",
            "training/test_nan_check.py",
        ),
        (
            "loss_scale",
            "training/engine.py",
            "(-self.scale.factor * one.loss.delta)",
            "(-one.loss.delta)",
            "training/test_nan_check.py",
        ),
        (
            "loss_scale",
            "training/loss_scale.py",
            "max(self.factor / 2, 1.0)",
            "max(self.factor / 4, 1.0)",
            "training/test_nan_check.py",
        ),
        (
            "stages",
            "detector.py",
            '("preprocess", "inference", "postprocess")',
            '("preprocess", "postprocess", "inference")',
            "test_detector.py::test_times_are_of_the_stages_in_order",
        ),
        (
            "views",
            "evaluation/accuracy.py",
            "(-_SHIFT, -_SHIFT), (_SHIFT, -_SHIFT), (0, 0)",
            "(-_SHIFT, -_SHIFT), (_SHIFT, -_SHIFT), (1, 0)",
            "evaluation/test_views.py",
        ),
        (
            "views",
            "evaluation/accuracy.py",
            "for one in (image, image.flip(2)):",
            "for one in (image, image.flip(1)):",
            "evaluation/test_views.py",
        ),
        ("views", "evaluation/accuracy.py", "_SHIFT = 32", "_SHIFT = 16", "evaluation/test_views.py"),
        (
            "views",
            "evaluation/accuracy.py",
            "(224, 288, 320, 352, 384)",
            "(224, 288, 320, 352, 416)",
            "evaluation/test_views.py",
        ),
        (
            "tiling",
            "tiling.py",
            "_EDGE = 0.02",
            "_EDGE = 0.0",
            "test_tiling.py::test_a_box_that_ends_just_before_a_cut_is_cut",
        ),
        (
            "tiling",
            "tiling.py",
            "_INSIDE = 0.7",
            "_INSIDE = 0.9",
            "test_tiling.py::test_a_cut_box_within_a_whole_one_goes",
        ),
        (
            "tiling",
            "tiling.py",
            " & (found.tile[:, :2] > 0)",
            "",
            "test_tiling.py::test_a_box_at_an_edge_of_the_image_is_whole",
        ),
        (
            "tiling",
            "tiling.py",
            " & (found.tile[:, 2:] < end)",
            "",
            "test_tiling.py::test_a_box_at_an_edge_of_the_image_is_whole",
        ),
        (
            "tiling",
            "tiling.py",
            "return (overlap > threshold) & other",
            "return overlap > threshold",
            "test_tiling.py::test_boxes_of_one_tile_are_left_alone",
        ),
        (
            "cost",
            "layers/cost.py",
            "torch.where(t == 0, self.options.noobj, 1.0)",
            "torch.where(t == 0, 1.0, self.options.noobj)",
            "layers/test_cost.py",
        ),
        ("cost", "layers/cost.py", "self.options.thresh / x[0].numel()", "self.options.thresh", "layers/test_cost.py"),
        (
            "cost",
            "layers/cost.py",
            "torch.where(t != 0, -y, y), torch.where(t > 0, 1.0, -1.0)",
            "torch.where(t != 0, -y, y), torch.where(t > 0, -1.0, 1.0)",
            "layers/test_cost.py",
        ),
        ("cost", "layers/cost.py", "2 * lack.abs() - 1", "2 * lack.abs()", "layers/test_cost.py"),
        (
            "cost",
            "layers/cost.py",
            "torch.where(lack > 0, 1.0, -1.0)",
            "torch.where(lack >= 0, 1.0, -1.0)",
            "layers/test_cost.py",
        ),
        ("cost", "layers/cost.py", "y = torch.where(t == IGNORED_TARGET, t, y)", "pass", "layers/test_cost.py"),
        (
            "implicit",
            "layers/implicit.py",
            "self.options.mean - self.options.std, self",
            "self.options.mean, self",
            "layers/test_implicit.py",
        ),
        (
            "implicit",
            "layers/implicit.py",
            "self.options.mean + self.options.std)",
            "self.options.mean + 2 * self.options.std)",
            "layers/test_implicit.py",
        ),
        (
            "through_time",
            "layers/recurrent/conv_lstm.py",
            "lambda gradient: gradient * factor",
            "lambda gradient: gradient",
            "training/test_conformance_training.py::test_costs_and_weights_are_those_of_c[training_more/conv_lstm_bottleneck]",
        ),
        (
            "schedule",
            "schedule.py",
            "(number / net.burn_in) ** net.power",
            "(number / net.burn_in)",
            "test_schedule.py",
        ),
        ("schedule", "schedule.py", "cycle *= net.sgdr_mult", "cycle += net.sgdr_mult", "test_schedule.py"),
        (
            "rejection",
            "training/label_rejection.py",
            "net.max_batches * 3 // 4",
            "net.max_batches // 4",
            "test_schedule.py",
        ),
        (
            "rejection",
            "training/label_rejection.py",
            "self.mean * progress * 1.4",
            "self.mean * progress * 9",
            "test_schedule.py",
        ),
        ("rejection", "training/label_rejection.py", "self.limit += _STEP", "self.limit -= _STEP", "test_schedule.py"),
        (
            "rejection",
            "training/label_rejection.py",
            "self.mean + self.deviation * net.num_sigmas_reject_badlabels",
            "self.mean",
            "test_schedule.py",
        ),
        ("multi_scale", "training/sampling.py", "_TURNS = 10", "_TURNS = 5", "training/test_sampling.py"),
        ("multi_scale", "training/sampling.py", "_RANDOM = 1.4", "_RANDOM = 1.5", "training/test_sampling.py"),
        (
            "multi_scale",
            "training/sampling.py",
            "self.net.max_batches - _LAST",
            "self.net.max_batches",
            "training/test_sampling.py",
        ),
        ("multi_scale", "training/sampling.py", "_FILL = 0.8", "_FILL = 0.9", "training/test_sampling.py"),
        ("mosaic", "augmentation/mosaic.py", "_NEAREST = 0.2", "_NEAREST = 0.1", "augmentation/test_distributions.py"),
        ("mosaic", "augmentation/mosaic.py", "(wh > 1 / unit)", "(wh > 0)", "augmentation/test_geometry.py"),
        (
            "sgd",
            "training/optimizer.py",
            "torch._foreach_mul_(velocity, self.net.momentum)",
            "torch._foreach_mul_(velocity, 0.9 * self.net.momentum)",
            "training/test_trainer.py",
        ),
        (
            "sgd",
            "training/optimizer.py",
            "alpha=-self.net.decay * update.images",
            "alpha=-self.net.decay",
            "training/test_trainer.py",
        ),
        ("adam", "training/optimizer.py", "1 - net.B2**update.iteration", "1 - net.B2", "training/test_trainer.py"),
        (
            "clip",
            "training/optimizer.py",
            "torch._foreach_clamp_min_(parameters, -group.clip)",
            "pass",
            "training/test_trainer.py",
        ),
        (
            "resume",
            "training/train.py",
            'self.optimizer.load_state_dict(state["optimizer"])',
            "pass",
            "training/test_trainer.py",
        ),
        (
            "freeze",
            "training/engine.py",
            "                    layer.eval()\n",
            "                    pass\n",
            "training/test_trainer.py",
        ),
        ("norm", "layers/_norm.py", "_RATE = 0.01", "_RATE = 0.1", "training/test_conformance_training.py"),
        (
            "norm",
            "layers/_shared_norm.py",
            "variance * (count / (count - 1).clamp(min=1))",
            "variance",
            "training/test_distributed.py::test_a_shared_norm_of_one_is_torchs",
        ),
        (
            "across",
            "layers/_norm.py",
            "/ max(count - 1, 1), mean.square()",
            "/ count, mean.square()",
            "test_schedule.py::test_norm_across_mini_batches",
        ),
        (
            "excitation",
            "layers/_excitation.py",
            "iteration <= context.max_batches // 2",
            "iteration <= context.max_batches",
            "training/test_filters.py",
        ),
        (
            "checkpointing",
            "training/gradient_checkpointing.py",
            "                buffer.copy_(value)",
            "                pass",
            "training/test_run.py::test_memory_is_saved_and_nothing_else_changes",
        ),
        (
            "amp",
            "training/engine.py",
            "enabled=self.amp is not None",
            "enabled=False",
            "training/test_run.py::test_bf16_learns_nearly_the_same",
        ),
        (
            "smoothing",
            "layers/heads/_assignment.py",
            "1 - options.label_smooth_eps / 2",
            "1 - options.label_smooth_eps",
            "training/test_conformance_training.py",
        ),
        (
            "focal",
            "layers/heads/_assignment.py",
            "factor = -0.5 *",
            "factor = -",
            "training/test_conformance_training.py",
        ),
        ("nms", "boxes.py", "return diou(a, b, 0.6)", "return iou(a, b)", "test_boxes.py"),
        (
            "contrastive",
            "layers/contrastive.py",
            "number % 2 if context.adversarial",
            "number // 2 if context.adversarial",
            "layers/test_losses.py",
        ),
    )
]


class Outcome(NamedTuple):
    """What the tests said: killed, SURVIVED, or why there is no answer; seconds."""

    word: str
    seconds: float
    output: str


def problems(mutations: Sequence[Mutation]) -> list[str]:
    """Return a line for each mutation that cannot be applied or whose test file does not exist."""
    found = []
    for mutation in mutations:
        path = ROOT / "darknet_py" / mutation.file
        count = path.read_text(encoding="utf-8").count(mutation.old) if path.is_file() else 0
        if count != 1:
            found.append(f"darknet_py/{mutation.file}: expected once, found {count} times: {mutation.old!r}")
        if mutation.old == mutation.new:
            found.append(f"darknet_py/{mutation.file}: changes nothing: {mutation.old!r}")
        for word in mutation.tests.split():
            file = word.partition("::")[0]
            if word.startswith(("-", "'")) or not file.endswith(".py"):
                continue
            if not (ROOT / "tests" / file).is_file():
                found.append(f"tests/{file}: no such file")
    return found


def copy_checkout(folder: pathlib.Path) -> None:
    """Copy the files that git knows or would add."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def run_tests(folder: pathlib.Path, words: Sequence[str]) -> Outcome:
    """Run pytest in a copy."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow"]
    line = [sys.executable, "-m", "pytest", *options, *(f"tests/{word}" for word in words)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "CI": "1"}
    started = time.monotonic()
    try:
        done = subprocess.run(
            line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return Outcome("timeout", TIMEOUT, "")
    words_of = {_TESTS_PASSED: "SURVIVED", _TESTS_FAILED: "killed"}
    word = words_of.get(done.returncode, f"pytest ended with {done.returncode}")
    return Outcome(word, time.monotonic() - started, done.stdout + done.stderr)


def try_mutation(mutation: Mutation, folders: queue.Queue[pathlib.Path]) -> Outcome:
    """Apply a mutation in a free copy, run its tests and undo it."""
    folder = folders.get()
    path = folder / "darknet_py" / mutation.file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        return run_tests(folder, mutation.tests.split())
    finally:
        path.write_text(text, encoding="utf-8")
        folders.put(folder)


def main() -> int:
    """Try the mutations and return 1 where one survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="*", help="only mutations of these features")
    parser.add_argument("--jobs", type=int, default=2, help="mutations that are tried at once")
    parser.add_argument("--list", action="store_true", help="print the table and end")
    args = parser.parse_args()
    unknown = set(args.features) - {mutation.feature for mutation in MUTATIONS}
    if unknown:
        parser.error(f"unknown features: {', '.join(sorted(unknown))}")
    mutations = [mutation for mutation in MUTATIONS if not args.features or mutation.feature in args.features]
    if args.list:
        for mutation in mutations:
            print(f"{mutation.feature:16} {mutation.file}: {mutation.old!r} -> {mutation.new!r}  {mutation.tests}")
        return 0
    wrong = problems(mutations)
    print("\n".join(wrong) or f"{len(mutations)} mutations", flush=True)
    if wrong:
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        folders: queue.Queue[pathlib.Path] = queue.Queue()
        for number in range(args.jobs):
            copy_checkout(pathlib.Path(scratch, f"{number}", "checkout"))
            folders.put(pathlib.Path(scratch, f"{number}", "checkout"))
        every = sorted({word for mutation in mutations for word in mutation.tests.split()})
        plain = run_tests(pathlib.Path(scratch, "0", "checkout"), every)
        if plain.word != "SURVIVED":
            print(plain.output, "the tests must pass before the code is broken", sep="\n")
            return 1
        bad = 0
        with ThreadPoolExecutor(args.jobs) as pool:
            outcomes = pool.map(lambda mutation: try_mutation(mutation, folders), mutations)
            for mutation, outcome in zip(mutations, outcomes, strict=True):
                bad += outcome.word != "killed"
                change = f"{mutation.file}: {mutation.old.strip()!r} -> {mutation.new.strip()!r}"
                print(f"{outcome.word:9} {outcome.seconds:5.1f} s  {mutation.feature:16} {change}", flush=True)
                if outcome.word not in ("killed", "SURVIVED"):
                    print(outcome.output[-3000:])
    print(f"{len(mutations) - bad} of {len(mutations)} killed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
