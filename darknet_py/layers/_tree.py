"""WordTree, the class hierarchy of YOLO9000 (https://arxiv.org/abs/1612.08242, section 4).

A tree file has one line per class: its name and the number of its parent, -1 for a root. Consecutive classes with the
same parent form a group. Probabilities are conditional on the parent; those of a group sum to 1.
"""

from __future__ import annotations

import pathlib
import re

import torch
from torch import Tensor, nn

from ..errors import DataError
from ..text_files import read_lines, to_unicode


class Tree(nn.Module):
    """A class tree (``struct tree`` in C).

    Attributes:
        names: names of the classes.
        groups: number of groups.
        levels: depth of the tree; 1 if all classes are roots.
        nodes: for each level, the numbers of its classes.
        group: int64 [classes], group of each class.
        parent: int64 [classes], parent of each class; -1: a root.
        child: int64 [classes], group of each class's children; -1: a leaf.
        depth: int64 [classes], level of each class.
    """

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
        self._on_cpu = dict(self.named_buffers())  # stay there when the network is moved

    @property
    def leaves(self) -> Tensor:
        """Whether each class has no children, bool [classes] on the CPU."""
        return self._on_cpu["child"] < 0

    def _table(self, name: str, like: Tensor) -> Tensor:
        """Return a table where ``like`` is: on the network's device or on the CPU."""
        table: Tensor = getattr(self, name)
        return table if table.device == like.device else self._on_cpu[name].to(like.device)

    def softmax(self, x: Tensor, dim: int, temperature: float = 1.0) -> Tensor:
        """Compute the softmax within every group of siblings (``softmax_tree``).

        Args:
            x: float [..., classes, ...], logits.
            dim: dimension of the classes.
            temperature: divisor of the logits.

        Returns:
            Probabilities given the parent class, in the shape of ``x``; each group sums to 1.
        """
        rows = x.movedim(dim, 0) / temperature
        group = self._table("group", x)
        top = torch.full_like(rows[:1], float("-inf")).expand(self.groups, *rows.shape[1:]).clone()
        index = group.view(-1, *[1] * (rows.dim() - 1)).expand_as(rows)
        top = top.scatter_reduce(0, index, rows, "amax")
        exp = (rows - top[group]).exp()
        sums = torch.zeros_like(top).index_add(0, group, exp)
        return (exp / sums[group]).movedim(0, dim)

    def absolute(self, conditional: Tensor) -> Tensor:
        """Convert conditional probabilities to absolute ones (``hierarchy_predictions``).

        Args:
            conditional: float [n, classes], given the parent class.

        Returns:
            float [n, classes], the product over the path to the root.
        """
        result = conditional
        parent = self._table("parent", conditional)
        for nodes in self.nodes[1:]:
            index = parent.new_tensor(nodes)
            result = result.index_copy(1, index, result[:, index] * result[:, parent[index]])
        return result

    def paths(self, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """List the classes on the paths to the root.

        Args:
            classes: int64 [n] on the CPU, start of each path.

        Returns:
            For each node on a path, the index of its path in 0..n - 1 (ascending), its class and its group, int64 each.
        """
        path_indices, nodes = [torch.arange(len(classes))], [classes]
        for _ in range(1, self.levels):
            above = self._on_cpu["parent"][nodes[-1]]
            path_indices.append(path_indices[-1][above >= 0])
            nodes.append(above[above >= 0])
        order = torch.cat(path_indices).argsort(stable=True)
        on_paths = torch.cat(nodes)[order]
        return torch.cat(path_indices)[order], on_paths, self._on_cpu["group"][on_paths]

    def members(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """List the classes of ``groups``, int64 [n] on the CPU: for each its index in ``groups`` and its number."""
        index, member = (self._on_cpu["group"] == groups[:, None]).nonzero().unbind(dim=1)
        return index, member

    def descend(self, values: Tensor, threshold: float) -> Tensor:
        """Descend from the root to the best class (``hierarchy_top_prediction``).

        Each step moves to the best child if the product of all values on the path is above the threshold. Darknet
        passes absolute probabilities, so the product contains those of ancestors repeatedly.

        Args:
            values: float [n, classes].
            threshold: limit of the product.

        Returns:
            int64 [n], the class where each path ends.
        """
        count = values.shape[0]
        own_group, child = self._table("group", values), self._table("child", values)
        rows = torch.arange(count, device=values.device)
        reached = torch.full((count,), -1, device=values.device)
        product = values.new_ones(count)
        active = torch.ones(count, dtype=torch.bool, device=values.device)
        group = torch.zeros(count, dtype=torch.long, device=values.device)
        while bool(active.any()):
            best = torch.where(own_group == group[:, None], values, float("-inf")).argmax(dim=1)
            extended = product * values[rows, best]
            advance = active & ((extended > threshold) | (reached < 0))
            active = active & (extended > threshold)
            reached = torch.where(advance, best, reached)
            product = torch.where(active, extended, product)
            group = child[reached]
            active = active & (group >= 0)
        return reached


def _read(path: pathlib.Path) -> tuple[list[str], list[int]]:
    names: list[str] = []
    parents: list[int] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        # The text is not quoted: a cfg of someone else names the file.
        match = re.fullmatch(r"\s*(\S+)\s+(-?\d{1,9})\s*", line, re.ASCII)
        if match is None:
            raise DataError(f"{path}:{number}: expected a name and the number of its parent, found other text")
        name = match[1]
        parents.append(int(match[2]))
        if not -1 <= parents[-1] < len(names):
            raise DataError(f"{path}:{number}: parent {parents[-1]} is not an earlier class")
        names.append(to_unicode(name))
    if not names:
        raise DataError(f"{path}: no classes")
    return names, parents
