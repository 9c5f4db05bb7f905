"""Write tests/golden/ssd.npz: what torchvision's SSD300 computes, for the plug-in examples/ssd/ssd.py.

    python -m venv tv && tv/bin/pip install torch torchvision
    tv/bin/python tools/make_ssd_golden.py

Written with torch 2.13.0 (CPU) and torchvision 0.28.0. Weights and inputs are random with fixed seeds (``fill``,
``inputs``), so that a test makes the same without torchvision.
"""

from __future__ import annotations

import pathlib
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

TARGET = pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden" / "ssd.npz"
CLASSES = 20
BOXES = 8732
EVERY = 37  # of the boxes whose values are kept
# Of each image: x1, y1, x2, y2 in pixels, class; the last image has no object.
TARGETS = (
    ((20, 30, 120, 180, 6), (60, 50, 290, 280, 0), (200, 10, 240, 60, 19)),
    ((5, 5, 25, 40, 3), (100, 100, 110, 108, 14), (0, 0, 300, 300, 7), (150, 160, 210, 290, 7)),
    (),
)


def fill(state: dict[str, Tensor]) -> None:
    """Set the values of a state dict of torchvision's, by the names of its tensors."""
    for name, tensor in state.items():
        random = np.random.RandomState(zlib.crc32(name.encode()))  # its streams do not change between versions
        if tensor.dim() > 1:
            values = random.standard_normal(tuple(tensor.shape)) * np.sqrt(2 / tensor[0].numel())
        else:
            values = random.uniform(15, 25, len(tensor)) if "scale" in name else random.uniform(-0.1, 0.1, len(tensor))
        tensor.copy_(torch.from_numpy(values))


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return an image [1, 3, 300, 300] in 0..1, and offsets and scores of heads [3, 8732, ...] for ``TARGETS``."""
    random = np.random.RandomState(0)
    image = random.uniform(size=(1, 3, 300, 300))
    offsets = random.standard_normal((len(TARGETS), BOXES, 4))
    scores = 2 * random.standard_normal((len(TARGETS), BOXES, 1 + CLASSES))
    return tuple(torch.from_numpy(values).float() for values in (image, offsets, scores))  # type: ignore[return-value]


def build_model() -> Any:
    """Return torchvision's SSD300 with the weights of ``fill``."""
    library = torch.library.Library("torchvision", "DEF")  # its wheel of PyPI is built for CUDA: without that its
    for name in ("nms", "qnms"):  # operators are missing, which SSD needs for NMS only, and which it asks for
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision.models.detection import ssd300_vgg16

    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=1 + CLASSES)
    with torch.no_grad():
        fill(model.state_dict())
    return model.eval()


def main() -> None:
    """Compute the values and write them."""
    model = build_model()
    from torchvision.ops import box_iou

    image, offsets, scores = inputs()
    kept = slice(None, None, EVERY)
    with torch.no_grad():
        images = model.transform(list(image))[0]
        features = list(model.backbone(images.tensors).values())
        outputs = model.head(features)
        anchors = model.anchor_generator(images, features)[0]
        defaults = model.anchor_generator._grid_default_boxes([list(x.shape[-2:]) for x in features], [300, 300])
        decoded = model.box_coder.decode_single(offsets[0], anchors)
    tables = [torch.tensor(rows).reshape(-1, 5) for rows in TARGETS]
    targets = [{"boxes": table[:, :4].float(), "labels": table[:, 4].long() + 1} for table in tables]
    matched = [
        model.proposal_matcher(box_iou(one["boxes"], anchors))
        if len(one["boxes"])
        else torch.full((BOXES,), -1, dtype=torch.int64)
        for one in targets
    ]
    for leaf in (offsets, scores):
        leaf.requires_grad_()
    predictions = {"bbox_regression": offsets, "cls_logits": scores}
    losses = model.compute_loss(targets, predictions, [anchors] * len(TARGETS), matched)
    gradients = torch.autograd.grad(losses["bbox_regression"] + losses["classification"], (offsets, scores))
    gradient = torch.cat(gradients, dim=2)
    rows = gradient.abs().sum(dim=2).nonzero()
    values = {
        "default_boxes": defaults,
        "offsets": outputs["bbox_regression"][0, kept],
        "scores": outputs["cls_logits"][0, kept],
        "rms": torch.stack([outputs[name].square().mean().sqrt() for name in ("bbox_regression", "cls_logits")]),
        "decoded": decoded[kept],
        "losses": torch.stack([losses["bbox_regression"], losses["classification"]]).detach(),
        "matched": torch.stack(matched).to(torch.int8),
        "gradient_rows": rows.to(torch.int16),
        "gradient": gradient[tuple(rows.t())],
    }
    np.savez_compressed(TARGET, **{name: tensor.numpy() for name, tensor in values.items()})
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, losses {losses}")


if __name__ == "__main__":
    main()
