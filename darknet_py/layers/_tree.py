"""WordTree: classes in a hierarchy, as YOLO9000 has them (https://arxiv.org/abs/1612.08242, section 4).

A tree file has one line per class: its name and the number of its parent, -1 for none. Consecutive
classes of one parent are a group; a probability is conditional on the parent, and a group's sum is 1.
"""

from __future__ import annotations

import pathlib

import torch
from torch import Tensor, nn

from ..errors import DataError


class Tree(nn.Module):
    """A tree file as index tensors; [..., classes, *] tensors have the classes in ``dim``."""

    group: Tensor
    parent: Tensor
    child: Tensor
    depth: Tensor

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.names, parents = _read(path)
        groups, depth = [0], [0]
        for index in range(1, len(parents)):
            groups.append(groups[-1] + (parents[index] != parents[index - 1]))
        for parent in parents[1:]:
            depth.append(0 if parent < 0 else depth[parent] + 1)
        self.groups = groups[-1] + 1
        self.levels = max(depth) + 1
        self.register_buffer("group", torch.tensor(groups), persistent=False)
        self.register_buffer("parent", torch.tensor(parents), persistent=False)
        child = [-1] * len(parents)
        for index, parent in enumerate(parents):
            if parent >= 0:
                child[parent] = groups[index]
        self.nodes = [[index for index, level in enumerate(depth) if level == n] for n in range(self.levels)]
        self.register_buffer("child", torch.tensor(child), persistent=False)
        self.register_buffer("depth", torch.tensor(depth), persistent=False)

    def softmax(self, x: Tensor, dim: int, temperature: float = 1.0) -> Tensor:
        """Softmax within every group."""
        rows = x.movedim(dim, 0) / temperature
        top = torch.full_like(rows[:1], float("-inf")).expand(self.groups, *rows.shape[1:]).clone()
        index = self.group.view(-1, *[1] * (rows.dim() - 1)).expand_as(rows)
        top = top.scatter_reduce(0, index, rows, "amax")
        raised = (rows - top[self.group]).exp()
        sums = torch.zeros_like(top).index_add(0, self.group, raised)
        return (raised / sums[self.group]).movedim(0, dim)

    def absolute(self, conditional: Tensor) -> Tensor:
        """Probabilities [n, classes] given the parent to plain ones (``hierarchy_predictions``)."""
        result = conditional
        for nodes in self.nodes[1:]:
            index = self.parent.new_tensor(nodes)
            result = result.index_copy(1, index, result[:, index] * result[:, self.parent[index]])
        return result

    def paths(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """The classes on the way from each of ``classes`` [n] to the root: number in 0..n-1 (ascending), and class."""
        numbers, nodes = [torch.arange(len(classes), device=classes.device)], [classes]
        for _ in range(1, self.levels):
            above = self.parent[nodes[-1]]
            numbers.append(numbers[-1][above >= 0])
            nodes.append(above[above >= 0])
        order = torch.cat(numbers).argsort(stable=True)
        return torch.cat(numbers)[order], torch.cat(nodes)[order]

    def descend(self, values: Tensor, threshold: float) -> Tensor:
        """The class of each row of ``values`` [n, classes], walked to from the root (``hierarchy_top_prediction``).

        A step leads to the best child where the product of all values on the way is above the
        threshold. C walks over values that are absolute already, so that ancestors count repeatedly.
        """
        count = values.shape[0]
        rows = torch.arange(count, device=values.device)
        reached, chance = torch.full((count,), -1, device=values.device), values.new_ones(count)
        walking = torch.ones(count, dtype=torch.bool, device=values.device)
        group = torch.zeros(count, dtype=torch.long, device=values.device)
        while bool(walking.any()):
            best = torch.where(self.group == group[:, None], values, float("-inf")).argmax(dim=1)
            better = chance * values[rows, best]
            go = walking & ((better > threshold) | (reached < 0))
            walking = walking & (better > threshold)
            reached, chance = torch.where(go, best, reached), torch.where(walking, better, chance)
            group = self.child[reached]
            walking = walking & (group >= 0)
        return reached


def _read(path: pathlib.Path) -> tuple[list[str], list[int]]:
    names: list[str] = []
    parents: list[int] = []
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            name, parent = line.split()
            parents.append(int(parent))
        except ValueError:
            raise DataError(f"{path}:{number}: expected a name and the number of its parent, got {line!r}") from None
        if not -1 <= parents[-1] < len(names):
            raise DataError(f"{path}:{number}: parent {parents[-1]} is no earlier class")
        names.append(name)
    if not names:
        raise DataError(f"{path}: no classes")
    return names, parents
