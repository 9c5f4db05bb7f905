"""The model card of a repository on the Hugging Face Hub: README.md with its metadata as YAML in front.

The metadata follow https://huggingface.co/docs/hub/model-cards: library, task, licence, and in ``model-index`` each
score with the protocol that computed it, since protocols give different values for the same boxes.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._typing import StrPath
from .._version import __version__
from ..errors import DataError
from ..evaluation.accuracy import Accuracy
from ..evaluation.scores import Evaluation
from ..network import Network

LIBRARY = "darknet_py"


@dataclass(frozen=True)
class CardScore:
    """A score of a model.

    Attributes:
        kind: its type on the Hub, such as ``mean_average_precision``.
        name: its name with the protocol, such as ``mAP@0.50 (darknet)``.
        value: 0..1.
        rule: the protocol with its parameters.
        dataset: the name of the data set.
        split: the part of it.
        images: number of images; 0: unknown.
    """

    kind: str
    name: str
    value: float
    rule: str
    dataset: str
    split: str = "valid"
    images: int = 0


def map_scores(evaluation: Evaluation | Mapping[str, Any], dataset: str, split: str = "valid") -> list[CardScore]:
    """Return the scores of an evaluation, or of the JSON that ``evaluate`` has written of one.

    Args:
        evaluation: the evaluation.
        dataset: the name of its data set.
        split: the part of it.

    Raises:
        DataError: an entry is missing or has another type.
    """
    record = evaluation.to_dict() if isinstance(evaluation, Evaluation) else evaluation
    try:
        protocol, rule, images = str(record["protocol"]), str(record["rule"]), int(record["images"])
        if protocol == "coco":
            values = [("mAP@0.50:0.95", float(record["map"])), ("mAP@0.50", float(record["map50"]))]
        else:
            values = [(f"mAP@{float(record['match_iou']):.2f}", float(record["map"]))]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"expected the JSON of darknet-py evaluate --json, found no valid {error}") from error
    kind = "mean_average_precision"
    return [CardScore(kind, f"{name} ({protocol})", value, rule, dataset, split, images) for name, value in values]


def accuracy_scores(accuracy: Accuracy, dataset: str, split: str = "valid") -> list[CardScore]:
    """Return the scores of a classifier."""
    rule = "one centre crop, labels in the paths"
    values = {1: accuracy.top1, accuracy.k: accuracy.topk}
    return [
        CardScore("accuracy", f"top-{k} accuracy", value, rule, dataset, split, accuracy.images)
        for k, value in values.items()
    ]


def read_scores(path: StrPath) -> list[CardScore]:
    """Read the JSON that ``darknet-py evaluate --json`` has written. Raises DataError."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        return map_scores(record, pathlib.PurePath(record.get("data") or path).stem)
    except (OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: {reason}") from error


@dataclass(frozen=True)
class ModelCard:
    """What a model card states.

    Attributes:
        repo: ``owner/repo``.
        network: the network.
        cfg: name of the cfg in the repository.
        source: where cfg and weights come from, as sentences.
        scores: the scores; empty: it says that there are none.
        license: identifier of the licence on the Hub, such as ``mit``; empty: unset.
    """

    repo: str
    network: Network
    cfg: str
    source: str
    scores: Sequence[CardScore] = ()
    license: str = ""

    @property
    def task(self) -> str:
        """The Hub's name of the task."""
        return "object-detection" if self.network.heads else "image-classification"

    def metadata(self) -> dict[str, Any]:
        """Return the metadata as plain values."""
        entries: dict[str, Any] = {"library_name": LIBRARY, "pipeline_tag": self.task}
        if self.license:
            entries["license"] = self.license
        heads = (head.names[0] for head in self.network.heads)
        entries["tags"] = list(dict.fromkeys(["darknet", "pytorch", self.task, *heads]))
        if self.scores:
            entries["model-index"] = [{"name": self.repo.partition("/")[2], "results": self._results()}]
        return entries

    def _results(self) -> list[dict[str, Any]]:
        results: dict[tuple[str, str], dict[str, Any]] = {}
        for score in self.scores:
            dataset = {"type": score.dataset, "name": score.dataset, "split": score.split}
            empty = {"task": {"type": self.task}, "dataset": dataset, "metrics": []}
            result = results.setdefault((score.dataset, score.split), empty)
            metric = {"type": score.kind, "value": round(score.value, 6), "name": score.name}
            result["metrics"].append(metric | {"args": {"protocol": score.rule}})
        return list(results.values())

    def to_markdown(self) -> str:
        """Return the content of README.md."""
        import yaml

        front = yaml.safe_dump(self.metadata(), sort_keys=False, allow_unicode=True)
        return f"---\n{front}---\n\n" + "\n".join(self._lines())

    def _lines(self) -> list[str]:
        net = self.network
        classes = net.heads[-1].classes if net.heads else net[-1].shape.floats
        parameters = sum(parameter.numel() for parameter in net.parameters())
        use = "Detector" if net.heads else "Classifier"
        command = "detect" if net.heads else "classify"
        lines = [
            f"# {self.repo.partition('/')[2]}",
            "",
            f"A Darknet network for {self.task.replace('-', ' ')}, as a checkpoint of"
            f" [{LIBRARY}](https://pypi.org/project/darknet-torch/) {__version__}.",
            "",
            "| | |",
            "|---|---|",
            f"| cfg | `{self.cfg}`, {len(net.layers)} layers |",
            f"| input | {net.shape.describe()} (width x height x channels) |",
            f"| classes | {classes}{self._class_names()} |",
            f"| parameters | {parameters:,} |",
            f"| operations | {net.flops / 1e9:.3f} BFLOPS |",
            f"| images seen in training | {net.seen:,} |",
            f"| dialect | {net.dialect} |",
            "",
            "## Source",
            "",
            self.source,
            "",
            "## Scores",
            "",
            *self._score_lines(),
            "",
            "## Use",
            "",
            "```sh",
            "pip install 'darknet-torch[hf]'",
            f"darknet-py {command} hf://{self.repo} photo.jpg",
            "```",
            "",
            "```python",
            "import darknet_py as dk",
            "",
            f'print(dk.{use}("hf://{self.repo}")("photo.jpg"))',
            "```",
            "",
        ]
        return lines

    def _class_names(self) -> str:
        names = list(self.network.names)
        if not names:
            return ""
        more = f", ... ({len(names) - 10} more)" if len(names) > 10 else ""
        return ": " + ", ".join(name.replace("|", "\\|") for name in names[:10]) + more

    def _score_lines(self) -> list[str]:
        if not self.scores:
            return ["Not evaluated."]
        rows = [
            f"| {score.name} | {100 * score.value:.2f} % | {score.dataset}, {score.split}, {score.images:,} images "
            f"| {score.rule} |"
            for score in self.scores
        ]
        return ["| score | value | data | protocol |", "|---|---|---|---|", *rows]
