"""``TensorBoardLogger``: event files for TensorBoard."""

from __future__ import annotations

from typing import Any

from ..._typing import StrPath
from ...errors import DarknetError
from ..callbacks import Callback, EndEvent, EvaluationEvent, StartEvent, StepEvent


class TensorBoardLogger(Callback):
    """Writes the numbers of each iteration, and scores, for ``tensorboard --logdir FOLDER/tensorboard``.

    A resumed run continues the curves; what the earlier part wrote after its last state is dropped.

    Args:
        folder: Where to; None: ``FOLDER/tensorboard/NAME``.

    Raises:
        DarknetError: TensorBoard is not installed.
    """

    def __init__(self, folder: StrPath | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DarknetError("TensorBoard needs a package: pip install 'darknet-torch[log]'") from error
        self._folder = folder
        self._create: Any = SummaryWriter
        self._writer: Any = None

    def on_start(self, event: StartEvent) -> None:
        """Open the event file."""
        folder = self._folder or event.folder / "tensorboard" / event.name
        self._writer = self._create(str(folder), purge_step=event.iteration + 1 if event.resumed else None)

    def on_step(self, event: StepEvent) -> None:
        """Write the numbers of the iteration."""
        for name, value in event.metrics.scalars().items():
            self._writer.add_scalar(name, value, event.iteration)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Write the score."""
        self._writer.add_scalar(event.name, event.score, event.iteration)

    def on_end(self, event: EndEvent) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
