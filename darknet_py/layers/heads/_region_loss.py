"""The loss of ``[region]`` (``region_layer.c forward_region_layer``), without a loop over boxes.

Unlike in ``[yolo]``, Darknet's deltas include the derivative of the sigmoid: they are minus the derivative of half the
squared error of objectness and box, and of the classes' cross-entropy after a softmax. A later target overwrites an
earlier one in the same row, box included; in a class tree it overwrites only the groups on its path to the root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...boxes import iou
from ...cfg import Dialect
from ...errors import DataError
from .._loss import Loss, squared_loss
from .._tree import Tree
from ._max_iou import max_iou
from ._region_focal_loss import RegionFocalLoss
from ._region_loss_options import RegionLossOptions
from ._region_predictions import RegionPredictions, RegionTargets

_WARM_UP = 12800  # images during which all boxes are trained towards their anchor
_RECALL_IOU = 0.5
_CLASS_ONLY = 100000  # a target whose x and y are beyond this has a class and no box


@dataclass(frozen=True, kw_only=True)
class RegionLoss:
    """The loss of YOLOv2 and YOLO9000 (https://arxiv.org/abs/1612.08242).

    Attributes:
        options: thresholds and weights.
        anchors: (width, height) of the anchors in cells.
        class_scores: computes class scores, float [n, classes], from the head's input.
        tree: hierarchy of the classes, or None.
        class_map: int64 [n], the head's class of each class of the labels; None: they are the same.
    """

    options: RegionLossOptions
    anchors: tuple[tuple[float, float], ...]
    class_scores: Callable[[Tensor], Tensor]
    tree: Tree | None = None
    class_map: Tensor | None = None

    def __call__(self, x: Tensor, preds: RegionPredictions, gt_boxes: Tensor, seen: int) -> Loss:
        """Compute the loss of a mini-batch.

        Args:
            x: the head's input, float [batch, anchors * (5 + classes), height, width].
            preds: the head's predictions.
            gt_boxes: float [batch, targets, 6], (cx, cy, w, h, class, track) relative to the image, padded with zeros;
                on the CPU.
            seen: images trained on so far.

        Returns:
            The loss; ``delta`` has the shape of ``x``.
        """
        options = self.options
        if options.coords != 4:
            raise DataError(f"[region] coords={options.coords}: expected 4 values per box to train")
        if options.background:
            raise DataError("[region] background=1: expected 0 to train")
        batch, height, width = preds.objectness.shape[:3]
        grid_size = (width, height)
        rows = RegionPredictions(*(part.flatten(0, 3) for part in preds))
        with torch.no_grad():
            best_iou, best_target = max_iou(rows.boxes.view(batch, -1, 4), gt_boxes, options.classes)
            targets = self._negatives(rows, best_iou, seen)
            without_box = (gt_boxes[..., :2] > _CLASS_ONLY).all(dim=-1)
            has_boxes = ~without_box.any(dim=1) if self.tree else torch.ones(batch, dtype=torch.bool)
            matches, target = self._match(rows, gt_boxes * has_boxes[:, None, None], grid_size)
            classes = self._map_classes(target[:, 4].long())
            target = target.to(rows.boxes.device, non_blocking=True)
            match_iou = iou(rows.boxes[matches], target[:, :4])
            self._box_targets(targets, matches, target, match_iou, grid_size)
            class_rows = matches
            scale = torch.full_like(match_iou, options.class_scale)
            if options.classfix > 0:
                overlapping = (best_iou > options.thresh).nonzero()[:, 0]  # one synchronisation
                class_rows = torch.cat((overlapping, matches))
                image = overlapping.cpu() // (height * width * options.num)
                classes = torch.cat((gt_boxes[image, best_target[overlapping].cpu(), 4].long(), classes))
                factor = rows.objectness if options.classfix == 2 else torch.ones_like(best_iou)
                scale = torch.cat((options.class_scale * factor[overlapping], scale))
            self._class_targets(targets, rows.scores, class_rows, classes, scale)
            only_rows, only_classes = self._class_only_targets(targets, rows, gt_boxes, without_box)
            class_rows, classes = torch.cat((class_rows, only_rows)), torch.cat((classes, only_classes))
            options.drop_easy_negatives(targets.objectness_weights, targets.objectness, rows.objectness, matches, batch)
        d_box = targets.box - torch.cat((rows.xy, rows.log_size), dim=1)
        box_weights = targets.box_weights[:, None]
        value = (box_weights * d_box.square()).sum() / 2
        if options.is_focal:
            logits = x.unflatten(1, (options.num, -1)).permute(0, 3, 4, 1, 2).flatten(0, 3)[:, options.coords :]
            is_softmax = self.tree is not None or options.softmax
            focal_loss = RegionFocalLoss(options=options, class_scores=self.class_scores, softmax=is_softmax)
            value = value + focal_loss(logits, targets)
            score_delta = focal_loss.delta(logits, targets)
        else:
            d_objectness = targets.objectness - rows.objectness
            value = (targets.objectness_weights * d_objectness.square()).sum() / 2 + value
            value = value + self._class_loss(rows.scores, targets)
            with torch.no_grad():
                slope = rows.objectness * (1 - rows.objectness)
                objectness_delta = (targets.objectness_weights * d_objectness * slope)[:, None]
                class_delta = targets.class_weights * (targets.classes - rows.scores)
                score_delta = torch.cat((objectness_delta, class_delta), dim=1)
        with torch.no_grad():
            box_slope = torch.cat((rows.xy * (1 - rows.xy), torch.ones_like(rows.log_size)), dim=1)
            delta = torch.cat((box_weights * d_box * box_slope, score_delta), dim=1)
            delta = delta.view(batch, height, width, options.num, -1).permute(0, 3, 4, 1, 2).flatten(1, 2)
            parts = self._averages(rows, matches, match_iou, class_rows, classes, has_boxes)
        return squared_loss(delta, value, **parts)

    def _averages(
        self,
        rows: RegionPredictions,
        matches: Tensor,
        match_iou: Tensor,
        class_rows: Tensor,
        classes: Tensor,
        has_boxes: Tensor,
    ) -> dict[str, Tensor]:
        """Return the numbers that Darknet prints: means over the matches, and of all objectness.

        The objectness of images without boxes, ``has_boxes`` [batch], counts as 0.
        """
        scores = rows.scores[class_rows]
        if self.tree is not None:
            scores = self.tree.absolute(scores)
        scores = scores.gather(1, classes.to(scores.device, non_blocking=True)[:, None])
        count = max(len(matches), 1)
        any_object = rows.objectness
        if not has_boxes.all():
            any_object = any_object.view(len(has_boxes), -1) * has_boxes[:, None].to(any_object, non_blocking=True)
        return {
            "iou": match_iou.sum() / count,
            "count": torch.tensor(float(len(matches))),
            "class": scores.sum() / max(len(class_rows), 1),
            "object": rows.objectness[matches].sum() / count,
            "any_object": any_object.mean(),
            "recall": (match_iou > _RECALL_IOU).sum() / count,
        }

    def _map_classes(self, classes: Tensor) -> Tensor:
        """Return the head's classes, int64 [n], of the labels' classes [n]."""
        return classes if self.class_map is None else self.class_map[classes]

    def _negatives(self, rows: RegionPredictions, best_iou: Tensor, seen: int) -> RegionTargets:
        """Return the targets of all rows before matching: no object, unless they overlap a target."""
        options = self.options
        objectness = torch.zeros_like(best_iou)
        weights = torch.full_like(best_iou, options.noobject_scale)
        if options.classfix == -1:
            objectness = best_iou
        else:
            weights = torch.where(best_iou > options.thresh, 0.0, weights)
        box = torch.zeros_like(rows.boxes)
        box[:, :2] = 0.5
        box_weights = torch.full_like(best_iou, 0.01 if seen < _WARM_UP else 0.0)
        no_class = torch.zeros_like(rows.scores)
        return RegionTargets(objectness, weights, box, box_weights, no_class, no_class.clone())

    def _match(self, rows: RegionPredictions, gt_boxes: Tensor, grid_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Match each target to a row of its cell.

        Returns:
            The rows, int64 [n] on the device, and the targets, float [n, 6] on the CPU, in order.
        """
        width, height = grid_size
        valid = (gt_boxes[..., 0] != 0) & (gt_boxes[..., 0] <= _CLASS_ONLY)
        valid &= (gt_boxes[..., 4] >= 0) & (gt_boxes[..., 4] < self.options.classes)
        image, index = valid.nonzero().unbind(dim=1)
        target = gt_boxes[image, index]
        grid = target.new_tensor(grid_size)
        column, row = (target[:, :2] * grid).long().clamp(min=0).minimum(grid.long() - 1).unbind(dim=1)
        first = ((image * height + row) * width + column) * self.options.num
        cell_rows = first[:, None] + torch.arange(self.options.num)
        target_shapes = torch.cat((torch.zeros_like(target[:, :2]), target[:, 2:4]), dim=1)
        if self.options.bias_match:
            sizes = (target.new_tensor(self.anchors) / grid).expand(len(target), -1, -1)
        else:
            cell_rows = cell_rows.to(rows.boxes.device, non_blocking=True)
            target_shapes = target_shapes.to(rows.boxes, non_blocking=True)
            sizes = rows.boxes[cell_rows][..., 2:]
        shapes = torch.cat((torch.zeros_like(sizes), sizes), dim=-1)
        best = iou(shapes, target_shapes[:, None]).argmax(dim=1, keepdim=True)
        return cell_rows.gather(1, best)[:, 0].to(rows.boxes.device, non_blocking=True), target

    def _box_targets(
        self, targets: RegionTargets, matches: Tensor, target: Tensor, match_iou: Tensor, grid_size: tuple[int, int]
    ) -> None:
        """Set objectness and box of matched rows, by the last match of each."""
        options = self.options
        last = _last_of(matches, len(targets.objectness))
        rows, target = matches, target[last]
        width, height = grid_size
        sizes = torch.tensor([(width, height), *self.anchors], dtype=target.dtype)
        sizes = sizes.to(target.device, non_blocking=True)
        grid, anchors = sizes[0], sizes[1:]
        position = rows % (height * width * options.num)
        cell, anchor_index = position // options.num, position % options.num
        grid_xy = torch.stack((cell % width, cell // width), dim=1)
        anchor = anchors[anchor_index]
        targets.box[rows] = torch.cat((target[:, :2] * grid - grid_xy, (target[:, 2:4] * grid / anchor).log()), dim=1)
        weights = torch.full_like(match_iou, options.coord_scale)
        if options.dialect is Dialect.PJREDDIE:
            weights = weights * (2 - target[:, 2] * target[:, 3])
        targets.box_weights[rows] = weights
        targets.objectness[rows] = match_iou[last] if options.rescore else torch.ones_like(match_iou)
        targets.objectness_weights.index_fill_(0, rows, options.object_scale)

    def _class_targets(
        self, targets: RegionTargets, scores: Tensor, rows: Tensor, classes: Tensor, scale: Tensor
    ) -> None:
        """Set the class targets of rows [n] to classes [n], with weights ``scale`` [n] (``delta_region_class``).

        ``rows`` and ``scale`` are on the device, ``classes`` on the CPU.
        """
        tree = self.tree
        device = rows.device
        if tree is None:
            last = _last_of(rows, len(scores))
            classes, scale = classes.to(device, non_blocking=True)[last], scale[last]
            if self.options.focal_loss:
                p = scores[rows, classes] + 1e-15
                scale = scale * -0.5 * (1 - p) * (2 * p * p.log() + p - 1)
            targets.classes[rows] = F.one_hot(classes, self.options.classes).to(scores.dtype)
            targets.class_weights[rows] = scale[:, None].expand(-1, self.options.classes)
            return
        on_paths = torch.stack(tree.paths(classes))
        members = torch.stack(tree.members(on_paths[2]))
        path, nodes, groups = on_paths.to(device, non_blocking=True)
        step, member = members.to(device, non_blocking=True)
        rows, scale = rows[path], scale[path]
        last = _last_of(rows * tree.groups + groups, len(scores) * tree.groups)
        targets.classes[rows[step], member] = scores.new_zeros(())
        targets.class_weights[rows[step], member] = scale[last][step]
        targets.classes[rows, nodes[last]] = scores.new_ones(())

    def _class_only_targets(
        self, targets: RegionTargets, rows: RegionPredictions, gt_boxes: Tensor, without_box: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Train images that have a target without a box: the most probable row is trained on its class.

        In pjreddie's dialect the others are trained to contain no object (``region_layer.c:208``). The paper trains the
        row's objectness towards 0.3, which C computes and then sets to 0.

        Args:
            targets: what is set.
            rows: the predictions.
            gt_boxes: float [batch, targets, 6] on the CPU.
            without_box: bool [batch, targets] on the CPU, which targets have no box.

        Returns:
            The rows, int64 [n] on the device, and the classes, int64 [n] on the CPU.
        """
        chosen = torch.zeros(0, dtype=torch.long, device=rows.boxes.device)
        labels = torch.zeros(0, dtype=torch.long)
        if self.tree is None:
            return chosen, labels
        no_object = self.options.noobject_scale if self.options.dialect is Dialect.PJREDDIE else 0.0
        count = len(rows.boxes) // len(gt_boxes)
        for image in without_box.any(dim=1).nonzero()[:, 0].tolist():
            label = gt_boxes[image, without_box[image], 4][:1].long()
            on_path = self.tree.paths(label)[1].to(rows.boxes.device, non_blocking=True)
            part = slice(image * count, (image + 1) * count)
            for values in (targets.objectness, targets.box_weights, targets.class_weights):
                values[part] = 0.0
            targets.objectness_weights[part] = no_object
            probs = rows.objectness[part] * rows.scores[part].index_select(1, on_path).prod(dim=1)
            row = probs.argmax(dim=0, keepdim=True) + image * count
            targets.objectness_weights.index_fill_(0, row, 0.0)
            self._class_targets(targets, rows.scores, row, label, rows.boxes.new_full((1,), self.options.class_scale))
            chosen, labels = torch.cat((chosen, row)), torch.cat((labels, label))
        return chosen, labels

    def _class_loss(self, scores: Tensor, targets: RegionTargets) -> Tensor:
        """Sum the differentiable loss of the classes."""
        if self.tree or self.options.softmax:
            weights = targets.classes * targets.class_weights
            return -(weights * scores.clamp(min=1e-30).log()).sum()
        if self.options.dialect is Dialect.PJREDDIE:
            probs = scores.clamp(1e-7, 1 - 1e-7)
            return F.binary_cross_entropy(probs, targets.classes, targets.class_weights, reduction="sum")
        return (targets.class_weights * (targets.classes - scores).square()).sum() / 2


def _last_of(keys: Tensor, size: int) -> Tensor:
    """Return for each key the index of its last occurrence, int64 [n]; keys are in 0..size-1.

    What is written to a row for each of its matches is then the same, in whatever order a device writes.
    """
    order = torch.arange(len(keys), device=keys.device)
    return order.new_full((size,), -1).scatter_reduce_(0, keys, order, "amax")[keys]
