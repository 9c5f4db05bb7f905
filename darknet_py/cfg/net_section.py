"""The options of ``[net]``: the input, and the recipe that training follows."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .schema import Options, option


class Policy(enum.StrEnum):
    """What ``policy=`` may say."""

    CONSTANT = "constant"
    STEP = "step"
    STEPS = "steps"
    EXP = "exp"
    POLY = "poly"
    SIG = "sig"
    SIGMOID = "sigmoid"
    RANDOM = "random"
    SGDR = "sgdr"


NAMES = ("net", "network")  # of the section


@dataclass(frozen=True, kw_only=True)
class Net(Options):
    """Keys of ``parse_net_options``."""

    width: int = option(0, "columns of the input")
    height: int = option(0, "rows of the input")
    channels: int = option(0, "channels of the input")
    inputs: int = option(0, "length of an input that is no image")
    letter_box: bool = option(False, "keep the aspect of images")
    batch: int = option(1, "images per update", train=True)
    subdivisions: int = option(1, "parts that a batch is worked off in", train=True)
    time_steps: int = option(1, "frames a recurrent network is unrolled for", train=True)
    max_batches: int = option(0, "updates in all", train=True)
    learning_rate: float = option(0.001, "rate", train=True)
    learning_rate_min: float = option(0.00001, "lowest rate of sgdr", train=True)
    sgdr_cycle: int = option(0, "updates of sgdr's first cycle; 0: max_batches", train=True)
    sgdr_mult: int = option(2, "growth of sgdr's cycles", train=True)
    momentum: float = option(0.9, "momentum, or adam's first decay", train=True)
    decay: float = option(0.0001, "weight decay", train=True)
    adam: bool = option(False, "adam instead of momentum", train=True)
    B1: float = option(0.9, "adam's decay of the mean", train=True)
    B2: float = option(0.999, "adam's decay of the square", train=True)
    eps: float = option(0.000001, "adam's term against 0", train=True)
    policy: Policy = option(Policy.CONSTANT, "how the rate changes", train=True)
    burn_in: int = option(0, "updates of rising rate", train=True)
    power: float = option(4.0, "exponent of burn_in and poly", train=True)
    step: int = option(1, "updates per step", train=True)
    scale: float = option(1.0, "factor per step", train=True)
    steps: tuple[int, ...] = option((), "updates at which the rate changes", train=True)
    scales: tuple[float, ...] = option((), "factor at each of steps", train=True)
    seq_scales: tuple[float, ...] = option((), "factor on the sequence length at each of steps", train=True)
    gamma: float = option(1.0, "factor of exp and sigmoid", train=True)
    ema_alpha: float = option(0.0, "share of the old in the moving average of weights", train=True)
    loss_scale: float = option(1.0, "factor on the loss in half precision", train=True)
    dynamic_minibatch: bool = option(False, "more images at smaller sizes", train=True)
    optimized_memory: int = option(0, "memory saving of the GPU code", train=True, effect="speed")
    workspace_size_limit_MB: float = option(1024.0, "memory for cuDNN's choice", train=True, effect="speed")
    use_cuda_graph: bool = option(False, "CUDA graphs", train=True, effect="speed")
    try_fix_nan: bool = option(False, "replace what is no number on the GPU", train=True)
    resize_step: float = option(32.0, "step of random sizes in pixels", train=True)
    flip: bool = option(True, "mirror at random", train=True)
    angle: float = option(0.0, "turn at random by up to that many degrees", train=True)
    aspect: float = option(1.0, "change of aspect at random", train=True)
    hue: float = option(0.0, "change of hue at random", train=True)
    saturation: float = option(1.0, "change of saturation at random", train=True)
    exposure: float = option(1.0, "change of exposure at random", train=True)
    min_crop: int = option(0, "smallest scaled side before a crop; 0: width", train=True)
    max_crop: int = option(0, "largest scaled side before a crop; 0: twice the width", train=True)
    min_ratio: float = option(0.0, "min_crop / width (pjreddie)", train=True)
    max_ratio: float = option(0.0, "max_crop / width (pjreddie)", train=True)
    center: bool = option(False, "crop the middle (pjreddie)", train=True, effect="unsupported")
    random: bool = option(False, "train at changing sizes (pjreddie)", train=True, effect="unsupported")
    notruth: bool = option(False, "no target is read (pjreddie)", train=True, effect="unsupported")
    clip: float = option(0.0, "limit of gradients (pjreddie)", train=True, effect="unsupported")
    blur: int = option(0, "blur at random", train=True)
    gaussian_noise: int = option(0, "noise at random", train=True)
    mixup: int = option(0, "mix images at random", train=True)
    cutmix: bool = option(False, "put parts of images into others", train=True)
    mosaic: bool = option(False, "make images of four", train=True)
    mosaic_bound: bool = option(False, "cut boxes at a mosaic's borders", train=True)
    label_smooth_eps: float = option(0.0, "label smoothing of classifiers", train=True)
    adversarial_lr: float = option(0.0, "rate of self-adversarial training", train=True)
    attention: bool = option(False, "show what the network attends to", train=True, effect="unsupported")
    contrastive: bool = option(False, "contrastive learning", train=True)
    contrastive_jit_flip: bool = option(False, "mirror and jitter contrastive pairs", train=True)
    contrastive_color: bool = option(False, "colour changes of contrastive pairs", train=True)
    unsupervised: bool = option(False, "no labels", train=True)
    track: bool = option(False, "train on sequences", train=True)
    augment_speed: int = option(2, "largest step in a sequence", train=True)
    sequential_subdivisions: int = option(0, "subdivisions of one sequence; 0: all", train=True)
    weights_reject_freq: int = option(0, "updates between rejections of weights", train=True)
    equidistant_point: int = option(0, "updates until gradients are rejected by distance", train=True)
    badlabels_rejection_percentage: float = option(0.0, "share of worst labels that is rejected", train=True)
    num_sigmas_reject_badlabels: float = option(0.0, "deviations beyond which a label is rejected", train=True)
    max_chart_loss: float = option(20.0, "top of the loss chart", train=True)
    show_receptive_field: bool = option(False, "print the receptive field", train=True, effect="none")
