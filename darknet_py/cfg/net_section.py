"""The options of ``[net]``: the input of the network, and how it is trained."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from .schema import Conflict, Options, option


class Policy(enum.StrEnum):
    """Learning rate schedules (``policy=``)."""

    CONSTANT = "constant"
    STEP = "step"
    STEPS = "steps"
    EXP = "exp"
    POLY = "poly"
    SIG = "sig"
    SIGMOID = "sigmoid"
    RANDOM = "random"
    SGDR = "sgdr"


NAMES = ("net", "network")  # names of the section


@dataclass(frozen=True, kw_only=True)
class Net(Options):
    """Options of ``[net]`` (``parse_net_options``); only pjreddie's fork reads those marked pjreddie."""

    width: int = option(0, "input width in pixels", min=0, max=65536)
    height: int = option(0, "input height in pixels", min=0, max=65536)
    channels: int = option(0, "input channels", min=0, max=1048576)
    inputs: int = option(0, "length of an input vector that is not an image", min=0)
    letter_box: bool = option(False, "letterbox images: keep their aspect ratio")
    batch: int = option(1, "images per iteration (times time_steps)", train=True, min=1, max=1048576)
    subdivisions: int = option(
        1, "mini-batches per iteration, for gradient accumulation", train=True, min=1, max=1048576
    )
    time_steps: int = option(
        1, "frames per sequence: number of steps a recurrent network is unrolled for", train=True, min=1, max=1048576
    )
    max_batches: int = option(0, "number of iterations", train=True, min=0)
    learning_rate: float = option(0.001, "learning rate", train=True, min=0)
    learning_rate_min: float = option(0.00001, "minimum learning rate (sgdr)", train=True, min=0)
    sgdr_cycle: int = option(0, "iterations of the first cosine cycle (sgdr); 0: max_batches", train=True, min=0)
    sgdr_mult: int = option(2, "factor on the cycle length after each restart (sgdr)", train=True, min=0)
    momentum: float = option(0.9, "momentum", train=True, min=0, max=1)
    decay: float = option(0.0001, "weight decay", train=True, min=0)
    adam: bool = option(False, "Adam instead of SGD with momentum", train=True)
    B1: float = option(0.9, "beta 1 of Adam: decay of the first moment", train=True, min=0, max=1)
    B2: float = option(0.999, "beta 2 of Adam: decay of the second moment", train=True, min=0, max=1)
    eps: float = option(0.000001, "epsilon of Adam", train=True, min=0)
    policy: Policy = option(Policy.CONSTANT, "learning rate schedule", train=True)
    burn_in: int = option(
        0, "warm-up iterations, with learning rate * (iteration / burn_in) ^ power", train=True, min=0
    )
    power: float = option(4.0, "exponent of the warm-up and of poly", train=True, min=0, max=100)
    step: int = option(1, "iterations per step (step), or the midpoint (sigmoid)", train=True, min=0)
    scale: float = option(1.0, "factor on the learning rate per step (step)", train=True, min=0)
    steps: tuple[int, ...] = option(
        (), "iterations at which the learning rate changes (steps, sgdr)", train=True, min=-1
    )
    scales: tuple[float, ...] = option((), "factor on the learning rate at each of steps (steps)", train=True, min=0)
    seq_scales: tuple[float, ...] = option((), "factor on the sequence length at each of steps", train=True, min=0)
    gamma: float = option(1.0, "base of exp, slope of sigmoid", train=True, min=-100, max=100)
    ema_alpha: float = option(
        0.0, "decay of the exponential moving average (EMA) of the weights; 0: none", train=True, min=0, max=1
    )
    loss_scale: float = option(1.0, "loss scale in mixed precision", train=True, min=0)
    dynamic_minibatch: bool = option(
        False, "with random=1, larger mini-batches at smaller input sizes", train=True, only="detectors"
    )
    optimized_memory: int = option(0, "memory saving of Darknet's GPU code", train=True, effect="speed", min=0)
    workspace_size_limit_MB: float = option(
        1024.0, "memory limit of cuDNN's workspace", train=True, effect="speed", min=0
    )
    use_cuda_graph: bool = option(False, "CUDA graphs", train=True, effect="speed")
    try_fix_nan: bool = option(
        False, "NaN and Inf in gradients become 0; limit those of convolutions' outputs to -1..1", train=True
    )
    resize_step: float = option(32.0, "step of random input sizes in pixels", train=True, min=1, max=65536)
    flip: bool = option(True, "random horizontal flip", train=True)
    angle: float = option(
        0.0, "maximum random rotation of classifier images in degrees", train=True, min=0, max=360, only="classifiers"
    )
    aspect: float = option(
        1.0, "maximum random change of the aspect ratio (classifiers)", train=True, min=0, only="classifiers"
    )
    hue: float = option(0.0, "maximum random hue shift", train=True, min=0, max=1)
    saturation: float = option(1.0, "maximum random saturation factor", train=True, min=0)
    exposure: float = option(1.0, "maximum random exposure (value) factor", train=True, min=0)
    min_crop: int = option(
        0,
        "minimum size of the shorter side before the random crop; 0: width",
        train=True,
        min=0,
        max=65536,
        only="classifiers",
    )
    max_crop: int = option(
        0,
        "maximum size of the shorter side before the random crop; 0: 2 * width",
        train=True,
        min=0,
        max=65536,
        only="classifiers",
    )
    min_ratio: float = option(0.0, "min_crop / width (pjreddie)", train=True, min=0, max=1000, only="classifiers")
    max_ratio: float = option(0.0, "max_crop / width (pjreddie)", train=True, min=0, max=1000, only="classifiers")
    center: bool = option(False, "centre crop instead of a random crop (pjreddie)", train=True, effect="unsupported")
    random: bool = option(False, "random input sizes of a classifier (pjreddie)", train=True, effect="unsupported")
    notruth: bool = option(False, "no targets (pjreddie)", train=True, effect="unsupported")
    clip: float = option(0.0, "gradient clipping (pjreddie)", train=True, effect="unsupported", min=0)
    blur: int = option(0, "random Gaussian blur; above 1: size of the kernel", train=True, min=0, max=65536)
    gaussian_noise: int = option(0, "random Gaussian noise up to this strength", train=True, min=0, only="detectors")
    mixup: int = option(0, "MixUp", train=True, min=0, max=4)
    cutmix: bool = option(False, "CutMix", train=True, only="classifiers")
    mosaic: bool = option(False, "mosaic of four images", train=True)
    mosaic_bound: bool = option(False, "clip boxes to their image of the mosaic", train=True, only="detectors")
    detector_cutmix: bool = option(
        False,
        "CutMix of detectors, alone or for half of the images that mosaic or mixup mixes",
        train=True,
        only="detectors",
        extension=True,
    )
    random_erasing: float = option(
        0.0, "probability that a rectangle becomes noise (random erasing)", train=True, min=0, max=1, extension=True
    )
    cutout: int = option(
        0,
        "side in pixels of the square that gets the mean colour of the image (CutOut); 0: none",
        train=True,
        min=0,
        max=65536,
        extension=True,
    )
    hide_and_seek: float = option(
        0.0, "probability that a patch is hidden (hide-and-seek)", train=True, min=0, max=1, extension=True
    )
    grid_mask: float = option(
        0.0, "probability that a grid of squares is hidden (GridMask)", train=True, min=0, max=1, extension=True
    )
    grid_mask_ratio: float = option(
        0.6, "width of what GridMask keeps, relative to its unit", train=True, min=0, max=1, extension=True
    )
    bilateral_blur: int = option(
        0,
        "diameter in pixels of a bilateral filter that half of the images get; 0: none",
        train=True,
        min=0,
        max=63,
        extension=True,
    )
    label_smooth_eps: float = option(
        0.0, "label smoothing epsilon (classifiers)", train=True, min=0, max=1, only="classifiers"
    )
    adversarial_lr: float = option(0.0, "learning rate of self-adversarial training", train=True, min=0)
    attention: bool = option(False, "show attention maps in a window", train=True, effect="unsupported")
    contrastive: bool = option(False, "contrastive learning", train=True)
    contrastive_jit_flip: bool = option(
        False, "jitter and flip the views of a contrastive pair differently", train=True
    )
    contrastive_color: bool = option(
        False, "colour augmentation that differs between the views of a contrastive pair", train=True
    )
    unsupervised: bool = option(False, "contrastive learning without labels", train=True, only="classifiers")
    track: bool = option(False, "train on sequences of consecutive frames", train=True)
    augment_speed: int = option(2, "maximum frame step in a sequence", train=True, min=0)
    sequential_subdivisions: int = option(0, "subdivisions per sequence; 0: subdivisions", train=True, min=0)
    weights_reject_freq: int = option(
        0, "iterations between re-initialisations of similar filters; 0: never", train=True, min=0
    )
    equidistant_point: int = option(
        0, "iteration after which unusually small deltas of a head are dropped; 0: never", train=True, min=0
    )
    badlabels_rejection_percentage: float = option(
        0.0, "percentage of the largest deltas to drop, in the last quarter of training", train=True, min=0, max=100
    )
    num_sigmas_reject_badlabels: float = option(
        0.0,
        "drop deltas this many standard deviations above the mean, in the last quarter of training",
        train=True,
        min=0,
    )
    max_chart_loss: float = option(20.0, "upper limit of the loss plot", train=True, min=0)
    show_receptive_field: bool = option(False, "show the receptive field of each layer in the table of the network")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield lists of unequal length, and numbers of images or iterations that contradict each other."""
        steps = len(self.steps)
        if self.policy is Policy.STEPS and len(self.scales) != steps:
            text = f"expected one scale for each of {steps} steps, got {len(self.scales)}"
            yield Conflict("scales", text, stops_training=True)
        if self.seq_scales and len(self.seq_scales) != steps:
            text = f"expected one scale for each of {steps} steps, got {len(self.seq_scales)}"
            yield Conflict("seq_scales", text, stops_training=True)
        if 0 < self.max_batches <= self.burn_in:
            text = f"{self.burn_in} iterations of warm-up, but max_batches={self.max_batches} ends the training before"
            yield Conflict("burn_in", text)
        if self.batch % self.subdivisions:
            used = max(self.batch // self.subdivisions, 1) * self.subdivisions
            text = f"{self.batch} is not a multiple of subdivisions={self.subdivisions}: an iteration has {used} images"
            yield Conflict("batch", text)
