"""``WandbLogger``: a run in Weights & Biases, offline unless told otherwise."""

from __future__ import annotations

import os
from typing import Any

from ...errors import DarknetError
from ..callbacks import Callback, CheckpointEvent, EndEvent, EvaluationEvent, StartEvent, StepEvent


class WandbLogger(Callback):
    """Logs parameters, the numbers of each iteration, scores, and where the best and final weights are.

    Offline, the run is a folder ``FOLDER/wandb/offline-run-*``, which ``wandb sync`` uploads, and nothing is sent;
    wandb's error reports are off too, unless ``WANDB_ERROR_REPORTING`` is set. A resumed run has the same ID; its
    second offline part is another folder, which ``wandb sync --append`` adds.

    Args:
        project: Name of the project; None: ``WANDB_PROJECT``, otherwise "darknet-torch".
        mode: "offline" or "online"; None: ``WANDB_MODE``, otherwise "offline".

    Raises:
        DarknetError: wandb is not installed.
    """

    def __init__(self, project: str | None = None, mode: str | None = None) -> None:
        self._mode = mode or os.environ.get("WANDB_MODE") or "offline"
        if self._mode != "online":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # also looks up the host of the reports
        try:
            import wandb
        except ImportError as error:
            raise DarknetError("Weights & Biases needs a package: pip install 'darknet-torch[wandb]'") from error
        self._wandb: Any = wandb
        self._project = project or os.environ.get("WANDB_PROJECT") or "darknet-torch"
        self._id: str | None = None
        self._run: Any = None

    def on_start(self, event: StartEvent) -> None:
        """Create the run, or continue it."""
        self._run = self._wandb.init(
            project=self._project,
            name=event.name,
            id=self._id,
            dir=os.environ.get("WANDB_DIR") or str(event.folder),
            config={"max_batches": event.max_batches, "start": event.iteration, **event.recipe},
            mode=self._mode,
            resume="allow",
            reinit="create_new",  # beside a run of the program that trains
            settings=self._wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )
        self._id = self._run.id

    def on_step(self, event: StepEvent) -> None:
        """Log the numbers of the iteration."""
        self._run.log(event.metrics.scalars(), step=event.iteration, commit=not event.evaluation_follows)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Log the score."""
        self._run.log({event.name: event.score}, step=event.iteration, commit=True)

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Note where weights are."""
        if event.kind in ("best", "final"):
            self._run.summary[f"weights_{event.kind}"] = str(event.weights.absolute())

    def on_end(self, event: EndEvent) -> None:
        """End the run."""
        if self._run is not None:
            self._run.finish(exit_code=1 if event.status == "failed" else 0)

    def state_dict(self) -> dict[str, Any]:
        """The ID of the run."""
        return {"id": self._id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a run."""
        self._id = state["id"]
