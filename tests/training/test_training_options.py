"""Every option that concerns training does something in a training: for each there is a recipe where its value matters.

A training of a few iterations gives the sums of every batch, every cost and rate, and all weights; another value of the
key must change them. What needs more than that is named with the test that covers it.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import Trainer, TrainOptions, cfg
from darknet_py.cfg import schema
from darknet_py.cfg.net_section import Net
from darknet_py.data.dataset import load_image_list
from darknet_py.layers import LAYERS
from darknet_py.network import Network
from darknet_py.training import batches
from darknet_py.training.loader import Loader
from tests.helpers import devices, ignored_option, paths

ITERATIONS = 8
KINDS = [Net, *(kind.Options for kind in LAYERS.values())]
Place = tuple[str, str]  # section and key

NET = "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=4\nsubdivisions=2\nmax_batches=8\nlearning_rate=0.01\n"
CONV = "[conv]\nfilters={}\nsize=3\npad=1\nstride=2\nbatch_normalize=1\nactivation=leaky\n"
LINEAR = "[conv]\nfilters={}\nactivation=linear\n"
HEAD = "classes=3\nnum=2\nanchors=8,8,20,16\njitter=.2\n"
YOLO = NET + CONV.format(8) + CONV.format(8) + LINEAR.format(16) + "[yolo]\n" + HEAD
GAUSSIAN = NET + CONV.format(8) + CONV.format(8) + LINEAR.format(24) + "[Gaussian_yolo]\n" + HEAD
REGION = NET + CONV.format(8) + CONV.format(8) + LINEAR.format(16) + "[region]\n" + HEAD.replace("8,8,20,16", "1,1,3,2")
REGION += "softmax=1\n"
SQUARE = NET + CONV.format(8) + "[connected]\noutput=52\nactivation=linear\n"
SQUARE += "[detection]\nclasses=3\ncoords=4\nnum=2\nside=2\n"
CROPPED = NET + "[crop]\ncrop_width=24\ncrop_height=24\n" + CONV.format(8) + "[avgpool]\n[softmax]\n"
NAMED = NET + CONV.format(8) + "[avgpool]\n[softmax]\n"
COST = NET + CONV.format(8).replace("leaky", "linear") + "[connected]\noutput=8\nactivation=linear\n[cost]\n"
TRACK = NET.replace("batch=4\n", "batch=4\ntime_steps=2\ntrack=1\n") + CONV.format(8)
TRACK += "[crnn]\nhidden=4\noutput=8\npad=1\nsize=3\n" + LINEAR.format(16) + "[yolo]\n" + HEAD
DEEP = NET + CONV.format(8) * 3 + "[conv]\nfilters=8\n" * 3 + LINEAR.format(16) + "[yolo]\n" + HEAD
DROPPED = NET + CONV.format(8) + "[dropout]\n" + CONV.format(8) + "[avgpool]\n[softmax]\n"
CONTRAST = NET.replace("subdivisions=2", "subdivisions=1") + "contrastive=1\n" + CONV.format(8)
CONTRAST += LINEAR.format(16) + "[yolo]\n" + HEAD + "[route]\nlayers=0\n" + LINEAR.format(8)
CONTRAST += "[contrastive]\nclasses=3\nyolo_layer=2\ntemperature=.5\n"

# Section, recipe, and keys with the value to try, behind them what else the section needs for the key to matter.
CASES: list[tuple[str, str, str]] = [
    ("net", YOLO, "batch=8; subdivisions=1; max_batches=7; learning_rate=0.02"),
    ("net", YOLO, "momentum=0.5; decay=0.1; adam=1; flip=0"),
    ("net", YOLO, "learning_rate_min=0.001 policy=sgdr"),
    ("net", YOLO, "sgdr_cycle=3 policy=sgdr; sgdr_mult=1 policy=sgdr sgdr_cycle=2"),
    ("net", YOLO, "B1=0.5 adam=1; B2=0.5 adam=1; eps=0.1 adam=1; policy=poly; burn_in=4; power=2 policy=poly"),
    ("net", YOLO, "step=3 policy=step scale=.5; scale=.5 policy=step step=3; gamma=.5 policy=exp; ema_alpha=.5"),
    ("net", YOLO, "steps=2 policy=steps steps=4 scales=.1; scales=.1 policy=steps steps=2 scales=.5"),
    ("net", TRACK, "time_steps=4; track=0; augment_speed=9; sequential_subdivisions=1"),
    ("net", TRACK, "seq_scales=.5 sequential_subdivisions=2 policy=steps steps=2 scales=1"),
    ("net", YOLO, "hue=.3; saturation=2; exposure=2; blur=5"),
    ("net", YOLO, "gaussian_noise=30; mixup=1; mosaic=1; mosaic_bound=1 mosaic=1"),
    ("net", YOLO, "detector_cutmix=1; random_erasing=1; cutout=12; hide_and_seek=.5; bilateral_blur=5"),
    ("net", YOLO, "grid_mask=1; grid_mask_ratio=.3 grid_mask=1"),
    ("net", NAMED, "random_erasing=1; cutout=12; hide_and_seek=.5; grid_mask=1; bilateral_blur=5"),
    ("net", NAMED, "angle=20; aspect=2; min_crop=40; max_crop=40; min_ratio=1.5; max_ratio=1.5; cutmix=1"),
    ("net", NAMED, "label_smooth_eps=.1; unsupervised=1"),
    ("net", CONTRAST, "contrastive=0; contrastive_jit_flip=1; contrastive_color=1 hue=.3"),
    ("net", YOLO, "adversarial_lr=9; equidistant_point=1; num_sigmas_reject_badlabels=1"),
    ("net", DEEP, "weights_reject_freq=1"),
    ("conv", DEEP, "learning_rate=.5; stopbackward=1; dont_update=3"),
    ("conv", DEEP, "onlyforward=1; train_only_bn=1; clip=.1; grad_centr=1"),
    ("conv", DEEP, "assisted_excitation=1; sway=1; rotate=1; stretch=1; stretch_sway=1; angle=40 sway=1; reverse=.5"),
    ("conv", DEEP, "cross_iterations=3; dropconnect=.4"),
    ("connected", COST, "dropconnect=.4"),
    ("conv", DEEP.replace("[net]", "[net]\nburn_in=3"), "burnin_update=2"),
    ("yolo", YOLO, "max=1; max_delta=.1 iou_loss=ciou; label_smooth_eps=.1"),
    ("yolo", YOLO, "objectness_smooth=1; iou_normalizer=.2; obj_normalizer=.2"),
    ("yolo", YOLO, "counters_per_class=1,5,9; cls_normalizer=.2 counters_per_class=1,5,9"),
    ("yolo", YOLO, "delta_normalizer=.2; jitter=.4"),
    ("yolo", YOLO, "iou_loss=ciou; iou_thresh=.2"),
    ("yolo", YOLO, "iou_thresh_kind=giou iou_thresh=.2 anchors=8,30,20,16; resize=1.5; ignore_thresh=.1"),
    ("yolo", YOLO, "truth_thresh=.1; random=1; focal_loss=1"),
    ("yolo", YOLO, "focal_gamma=2; focal_alpha=.25; hard_negatives=3"),
    ("Gaussian_yolo", GAUSSIAN, "max=1; max_delta=.1; label_smooth_eps=.1; objectness_smooth=1 ignore_thresh=.1"),
    ("Gaussian_yolo", GAUSSIAN, "iou_normalizer=.2; obj_normalizer=.2; delta_normalizer=.2; jitter=.4; resize=1.5"),
    ("Gaussian_yolo", GAUSSIAN, "counters_per_class=1,5,9"),
    ("Gaussian_yolo", GAUSSIAN, "cls_normalizer=.2 counters_per_class=1,5,9; iou_loss=giou"),
    ("Gaussian_yolo", GAUSSIAN, "iou_thresh=.2; iou_thresh_kind=giou iou_thresh=.2 anchors=8,30,20,16"),
    ("Gaussian_yolo", GAUSSIAN, "ignore_thresh=.1; truth_thresh=.1"),
    ("Gaussian_yolo", GAUSSIAN, "random=1; uc_normalizer=.2"),
    ("region", REGION, "max=1; focal_loss=1; jitter=.4; resize=1.5; rescore=1; thresh=.1; random=1; coord_scale=.2"),
    ("region", REGION, "focal_gamma=2; focal_alpha=.25; hard_negatives=3"),
    ("region", REGION, "object_scale=5; noobject_scale=5; class_scale=5; bias_match=1"),
    ("detection", SQUARE, "rescore=1; max=1; coord_scale=5"),
    ("detection", SQUARE, "object_scale=5; noobject_scale=5; class_scale=5; forced=1"),
    ("detection", SQUARE, "jitter=.4; resize=1.5; random=1; hard_negatives=1"),
    ("softmax", NAMED, "noloss=1"),
    ("cost", COST, "type=smooth; scale=.5; ratio=.3"),
    ("dropout", DROPPED, "probability=.8; dropblock=1; dropblock_size_rel=.9 dropblock=1"),
    ("dropout", DROPPED, "dropblock_size_abs=2 dropblock=1"),
    ("crop", CROPPED, "flip=1; angle=20; saturation=2; exposure=2; shift=.3"),
    ("contrastive", CONTRAST, "temperature=1; cls_normalizer=.2; max_delta=.01; contrastive_neg_max=1"),
]
# Section, key, and the test that fails where the key is ignored: what a training of this kind cannot show.
ELSEWHERE = {
    ("net", "loss_scale"): "training/test_nan_check.py::test_loss_scale_multiplies_gradients_until_the_update",
    ("net", "dynamic_minibatch"): "training/test_sampling.py::test_smaller_images_come_in_larger_batches",
    ("net", "resize_step"): "training/test_sampling.py::test_no_size_is_below_a_step",
    ("net", "try_fix_nan"): "training/test_nan_check.py::test_try_fix_nan_takes_gradients_of_nan_and_inf_for_0",
    ("net", "badlabels_rejection_percentage"): "training/test_label_rejection.py::test_deltas_are_rejected_as_in_c",
    ("net", "max_chart_loss"): "training/test_progress.py::test_max_chart_loss_is_the_top_of_the_chart",
    ("yolo", "map"): "layers/test_losses.py::test_classes_of_targets_are_mapped",
    ("yolo", "show_details"): "layers/test_losses.py::test_the_cost_without_details_is_the_sum_of_squares",
    ("conv_lstm", "time_normalizer"): (
        "training/test_conformance_training.py::test_costs_and_weights_are_those_of_c"
        "[training_more/conv_lstm_bottleneck]"
    ),
    ("contrastive", "yolo_layer"): "layers/test_losses.py::test_contrastive_trains_the_embeddings_that_a_head_matched",
    ("cost", "noobj"): "layers/test_cost.py::test_seg_weights_the_background_by_noobj",
    ("cost", "thresh"): "layers/test_cost.py::test_thresh_drops_small_deltas",
    ("implicit", "mean"): "layers/test_implicit.py::test_starting_values_are_uniform_around_the_mean",
    ("implicit", "std"): "layers/test_implicit.py::test_starting_values_are_uniform_around_the_mean",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eight images with two objects each."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    for number in range(8):
        size = (*(int(n) for n in rng.integers(40, 90, 2)), 3)
        noise = rng.integers(0, 256, size, dtype=np.uint8)
        path = folder / f"{number}_{('cat', 'dog', 'hen')[number % 3]}.png"
        Image.fromarray(noise).resize((64, 56)).save(path)
        path.with_suffix(".txt").write_text(f"{number % 3} .4 .4 .5 .5\n2 .7 .6 .4 .3\n")
    return [str(path) for path in sorted(folder.glob("*.png"))]


def create_loader(network: Network, images: list[str]) -> Loader:
    if network.heads:
        return batches.create_detection_loader(network, load_image_list(images), seed=3, workers=0)
    labels = () if network.options.unsupervised else ("cat", "dog", "hen", "a0", "a1", "a2", "a3", "a4")
    return batches.create_classification_loader(network, images, labels, seed=3, workers=0)


def trained(text: str, images: list[str]) -> list[float]:
    """What can be seen of a training."""
    torch.manual_seed(1)
    network = Network(cfg.loads(text)).initialise()
    for key, tensor in network.named_buffers():
        if key.endswith("rolling_variance"):
            tensor.fill_(1.0)
    trainer, seen = Trainer(network, options=TrainOptions(seed=3)), list[float]()
    for number, batch in enumerate(create_loader(network, images)):
        if number == ITERATIONS:
            break
        for x, targets in batch.pairs:
            seen += [x.numel(), float(x.double().sum())]
            seen += [float(t.double().sum()) for t in targets]
        torch.manual_seed(number)
        seen += [trainer.step(batch.pairs), trainer.lr]
        seen += [float(p.detach().double().square().sum()) for p in network.parameters()]
    if trainer.ema.tensors is not None:
        seen += [float(p.double().sum()) for p in trainer.ema.tensors]
    return seen


def put(text: str, section: str, keys: dict[str, str]) -> str:
    """``text`` with other keys in the second [conv], or in the last section of another name."""
    lines, heads = text.splitlines(), [n for n, line in enumerate(text.splitlines()) if line == f"[{section}]"]
    first = heads[1 if section == "conv" else -1] + 1
    last = next((n for n in range(first, len(lines)) if lines[n].startswith("[")), len(lines))
    kept = [line for line in lines[first:last] if line.partition("=")[0] not in keys]
    return "\n".join((*lines[:first], *kept, *(f"{key}={value}" for key, value in keys.items()), *lines[last:], ""))


@functools.cache
def cases() -> tuple[tuple[str, str, str], ...]:
    return tuple((section, text, row) for section, text, rows in CASES for row in rows.split("; "))


@pytest.mark.parametrize(("section", "text", "row"), cases(), ids=[f"{s} {row}" for s, _, row in cases()])
def test_it_has_an_effect(section: str, text: str, row: str, images: list[str]) -> None:
    key, *needed = (pair.split("=") for pair in row.split())
    plain = put(text, section, dict(needed))
    assert trained(put(plain, section, {key[0]: key[1]}), images) != trained(plain, images)


RANDOM = ("drop", "[crop]")  # CUDA draws its own random numbers


def trained_on(device: str, text: str, images: list[str]) -> Network:
    """The network after two iterations."""
    torch.manual_seed(1)
    network = Network(cfg.loads(text)).initialise()
    for key, tensor in network.named_buffers():
        if key.endswith("rolling_variance"):
            tensor.fill_(1.0)
    devices.move(network, device)
    trainer, loader = Trainer(network, options=TrainOptions(seed=3)), create_loader(network, images)
    for _, batch in zip(range(2), loader, strict=False):
        trainer.step(batch.pairs)
    return network


@pytest.mark.parametrize(("section", "text", "rows"), CASES, ids=[f"{s} {rows}" for s, _, rows in CASES])
@devices.on_accelerators
def test_a_device_gives_the_weights_of_the_cpu(
    section: str, text: str, rows: str, device: str, images: list[str]
) -> None:
    if device == "cuda" and any(key in f"{section} {rows} {text}" for key in RANDOM):
        pytest.skip("CUDA draws other random numbers")
    for row in rows.split("; "):
        changed = put(text, section, dict(pair.split("=") for pair in row.split()))
        devices.assert_trained_alike(trained_on(device, changed, images), trained_on("cpu", changed, images), device)


def test_none_is_left_out() -> None:
    held = {row.partition("=")[0] for _, _, row in cases()} | {key for _, key in ELSEWHERE}
    options = [(key, what.metadata) for kind in KINDS for key, what in schema.keys(kind).items()]
    known = {key for key, what in options if what["train"] and what["effect"] == "normal"}
    assert known - held == set()
    assert held <= known


@pytest.mark.slow
@pytest.mark.parametrize(("place", "test"), ELSEWHERE.items(), ids=[" ".join(place) for place in ELSEWHERE])
def test_the_named_test_fails_where_the_key_is_ignored(place: Place, test: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{test}"]
    environment = {**os.environ, ignored_option.VARIABLE: " ".join(place), "PYTHONPATH": str(paths.ROOT)}
    plain, ignored = (
        subprocess.run(
            [*command, *plugin], cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False
        )
        for plugin in ((), ("-p", "tests.helpers.ignored_option"))
    )
    assert plain.returncode == pytest.ExitCode.OK, plain.stdout
    assert ignored.returncode == pytest.ExitCode.TESTS_FAILED, ignored.stdout
