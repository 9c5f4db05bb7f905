"""What ``benchmarks.ablation`` compares: the parts of YOLOv4's recipe, each as the keys of a cfg without it.

The cfg itself has all parts (cfgs/digits-paper.cfg, cfgs/yolov4-paper.cfg), so a row of a table is the cfg with some of
them taken out. Names in tables are those of the paper's tables 4 and 5 (arXiv:2004.10934).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from darknet_py import cfg
from darknet_py.cfg import Config, Section
from darknet_py.cfg.editing import replace_sections, replace_values
from darknet_py.errors import ConfigError

DROPS = 0.8, 0.9  # of max_batches: where the paper's step schedule divides the learning rate by 10
DEFAULT_LR, FOUND_LR = 0.01, 0.00261  # of the paper, before and after its search
SAME = "[route]\nlayers=-1"  # in place of a layer that is taken out, so that the numbers of the others stay
# COCO's anchors of yolov4-tiny at the size of the digits' images.
COCO_ANCHORS = "1,2, 3,3, 4,7, 9,9, 16,19, 40,37"


class Edit(NamedTuple):
    """A new value of a key, in the sections that have the key.

    Attributes:
        section: Name of the sections, or number of one layer. ``[net]`` gets keys that it does not have.
        key: The key.
        value: The new value; "[section]" and lines of keys: the whole section becomes this one.
        old: Only where this is the value; "": everywhere.
    """

    section: str | int
    key: str
    value: str
    old: str = ""


class Part(NamedTuple):
    """A part of the recipe: its name, and what takes it out of the cfg."""

    name: str
    without: tuple[Edit, ...]


class Row(NamedTuple):
    """A row of a table: its name, and how its cfg differs from the whole recipe's.

    ``classifier``: start from the backbone of a classifier whose cfg has these edits; None: from random weights.
    """

    name: str
    edits: tuple[Edit, ...]
    classifier: tuple[Edit, ...] | None = None


def apply(config: Config, edits: Iterable[Edit]) -> str:
    """Return the text of a cfg with edits.

    Raises:
        ConfigError: The cfg has no such key, so that it does not have the part of the recipe.
    """
    for edit in edits:
        indices = [index for index, section in enumerate(config.sections) if _concerns(edit, index, section)]
        if not indices:
            value = f"={edit.old}" if edit.old else ""
            raise ConfigError(f"{config.path}: [{edit.section}] {edit.key}{value}: not in this cfg")
        if edit.value.startswith("["):
            section = cfg.loads(f"[net]\n{edit.value}\n").sections[1]
            text = replace_sections(config, dict.fromkeys(indices, section))
        else:
            text = replace_values(config, {index: {edit.key: edit.value} for index in indices})
        config = cfg.loads(text, config.path, allow_paths=config.allow_paths)
    return config.text


def _concerns(edit: Edit, index: int, section: Section) -> bool:
    values = {entry.key: entry.value for entry in reversed(section.entries)}
    if edit.section == "net":
        return index == 0
    return edit.section in (section.name, index - 1) and edit.key in values and edit.old in ("", values[edit.key])


def freebies(net: Mapping[str, str]) -> list[Part]:
    """Return the parts that training alone has, without cost at inference, for a cfg with this ``[net]``."""
    steps = ",".join(str(int(share * int(net["max_batches"]))) for share in DROPS)
    lr = float(net["learning_rate"]) * DEFAULT_LR / FOUND_LR
    schedule = Edit("net", "policy", "steps"), Edit("net", "steps", steps), Edit("net", "scales", "0.1,0.1")
    search = (
        Edit("net", "learning_rate", f"{lr:.4g}"),
        Edit("net", "momentum", "0.9"),
        Edit("yolo", "iou_normalizer", "0.75"),
    )
    return [
        Part("S", (Edit("yolo", "scale_x_y", "1.0"),)),
        Part("M", (Edit("net", "mosaic", "0"),)),
        Part("CutMix", (Edit("net", "detector_cutmix", "0"),)),
        Part("DropBlock", (Edit("dropout", "probability", "0"),)),
        Part("IT", (Edit("yolo", "iou_thresh", "1"),)),
        Part("GA", search),
        Part("LS", (Edit("yolo", "label_smooth_eps", "0"),)),
        Part("CmBN", (Edit("convolutional", "batch_normalize", "1", old="2"),)),
        Part("CA", schedule),
        Part("SAT", (Edit("net", "adversarial_lr", "0"),)),
        Part("RS", (Edit("yolo", "random", "0"),)),
        Part("CIoU", (Edit("yolo", "iou_loss", "mse"),)),
    ]


# Of the backbone's classifier, in the paper's tables 2, 3 and 6.
CLASSIFIER_FREEBIES = (Edit("net", "cutmix", "1"), Edit("net", "mosaic", "1"), Edit("net", "label_smooth_eps", "0.1"))
# Those that change the network or what is done with its boxes.
SPECIALS = [
    Part("Mish", (Edit("convolutional", "activation", "leaky", old="mish"),)),
    Part("MiWRC", (Edit("shortcut", "weights_type", "none"), Edit("shortcut", "weights_normalization", "none"))),
    Part("SPP", (Edit("maxpool", "size", "1"),)),
    Part("SAM", (Edit("convolutional", "activation", SAME, old="logistic"), Edit("sam", "from", SAME))),
    Part("DIoU-NMS", (Edit("yolo", "nms_kind", "default"),)),
]
# What has layer numbers or sizes of digits-paper.cfg.
DIGITS_FREEBIES = [Part("OA", (Edit("yolo", "anchors", COCO_ANCHORS),))]
DIGITS_SPECIALS = [Part("PAN", (Edit(41, "layers", "26"), Edit(42, "filters", SAME), Edit(43, "layers", "-1")))]


def tables(config: Config, *, is_digits: bool) -> dict[str, list[Row]]:
    """Return the rows of each table; the first row of a table is what the others are compared with.

    Specials and backbones are compared in the whole recipe, as in the paper. Those of the digits are compared in the
    network without freebies: all freebies at once keep a training of some minutes from learning anything.

    Args:
        config: A cfg with the whole recipe.
        is_digits: Whether it is digits-paper.cfg, of which anchors and PAN can be taken out too.
    """
    net = {entry.key: entry.value for entry in config.sections[0].entries}
    free = freebies(net) + (DIGITS_FREEBIES if is_digits else [])
    special = SPECIALS + (DIGITS_SPECIALS if is_digits else [])
    baseline, recipe = Row("baseline", without(free)), Row("recipe", ())
    start = baseline if is_digits else recipe
    leaky = Row(f"{start.name} - {special[0].name}", start.edits + special[0].without)
    mini_batch = int(net["batch"]) // int(net["subdivisions"])
    smaller = Edit("net", "subdivisions", str(2 * int(net["subdivisions"])))
    moving_size = Edit("net", "dynamic_minibatch", "1")
    return {
        "freebies": [
            baseline,
            *(Row(f"baseline + {part.name}", without(other for other in free if other != part)) for part in free),
            *(
                Row(f"baseline + {loss}", (*baseline.edits, Edit("yolo", "iou_loss", loss.lower())))
                for loss in ("GIoU", "DIoU")
            ),
            Row("baseline + RS + DM", (*without(part for part in free if part.name != "RS"), moving_size)),
            recipe,
        ],
        "specials": [
            start,
            *(Row(f"{start.name} - {part.name}", start.edits + part.without) for part in special),
            Row(f"{start.name} - all specials", start.edits + without(special)),
        ],
        "without": [recipe, *(Row(f"recipe - {part.name}", part.without) for part in free)],
        "backbone": [
            start,
            Row(f"{leaky.name}, classifier", leaky.edits, special[0].without),
            Row(f"{leaky.name}, classifier + freebies", leaky.edits, special[0].without + CLASSIFIER_FREEBIES),
            Row(f"{start.name}, classifier + freebies", start.edits, CLASSIFIER_FREEBIES),
        ],
        "mini-batch": [
            baseline,
            Row(f"baseline, mini-batch {mini_batch // 2}", (*baseline.edits, smaller)),
            recipe,
            Row(f"recipe, mini-batch {mini_batch // 2}", (smaller,)),
        ],
    }


def without(parts: Iterable[Part]) -> tuple[Edit, ...]:
    """Return the edits that take out several parts."""
    return tuple(edit for part in parts for edit in part.without)


def all_rows(chosen: Mapping[str, Sequence[Row]]) -> dict[str, Row]:
    """Return the rows of all tables by name, each once."""
    return {row.name: row for rows in chosen.values() for row in rows}
