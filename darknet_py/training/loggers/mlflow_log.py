"""``MlflowLogger``: a run in MLflow, on a server or in a local database."""

from __future__ import annotations

import os
import time
from typing import Any

from ...errors import DarknetError
from ..callbacks import Callback, CheckpointEvent, EndEvent, EvaluationEvent, StartEvent, StepEvent

_INTERVAL = 5.0  # seconds between requests
_MAX_METRICS = 1000  # in a request; MLflow's limit
_MAX_VALUE = 500  # characters of a parameter; the limit of older servers
_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MlflowLogger(Callback):
    """Logs parameters, the numbers of each iteration, scores, and where the best and final weights are.

    Numbers are sent every five seconds. A resumed run continues the same MLflow run; iterations that are repeated
    because they were made after the last state appear twice. MLflow's own usage statistics are turned off, unless
    ``MLFLOW_DISABLE_TELEMETRY`` is set.

    Args:
        tracking_uri: Where to; None: what ``mlflow.set_tracking_uri`` or ``MLFLOW_TRACKING_URI`` says, otherwise the
            database ``FOLDER/mlflow.db`` (``mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db``).
        experiment: Name of the experiment; None: ``MLFLOW_EXPERIMENT_NAME``, otherwise "darknet-torch".

    Raises:
        DarknetError: MLflow is not installed.
    """

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        try:
            import mlflow
        except ImportError as error:
            raise DarknetError("MLflow needs a package: pip install 'darknet-torch[mlflow]'") from error
        self._mlflow: Any = mlflow
        self._uri = tracking_uri
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "darknet-torch"
        self._client: Any = None
        self._run = ""
        self._pending: list[Any] = []
        self._sent_at = 0.0

    def on_start(self, event: StartEvent) -> None:
        """Create the run, or continue it."""
        uri = self._uri
        if uri is None:
            is_set = self._mlflow.tracking.is_tracking_uri_set()
            uri = self._mlflow.get_tracking_uri() if is_set else f"sqlite:///{event.folder.absolute() / 'mlflow.db'}"
        self._client = self._mlflow.MlflowClient(uri)
        if self._run:
            self._client.update_run(self._run, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(self._experiment)
        number = experiment.experiment_id if experiment else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(number, run_name=event.name).info.run_id
        parameters = {"max_batches": event.max_batches, "start": event.iteration, **event.recipe}
        self._client.log_batch(
            self._run,
            params=[self._mlflow.entities.Param(key, str(value)[:_MAX_VALUE]) for key, value in parameters.items()],
        )

    def on_step(self, event: StepEvent) -> None:
        """Note the numbers of the iteration."""
        self._add(event.metrics.scalars(), event.iteration)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Log the score."""
        self._add({event.name: event.score}, event.iteration)
        self._send()

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Note where weights are."""
        if event.kind in ("best", "final"):
            self._client.set_tag(self._run, f"weights_{event.kind}", str(event.weights.absolute()))

    def on_end(self, event: EndEvent) -> None:
        """Send what is left, and end the run."""
        if self._run:
            self._send()
            self._client.set_tag(self._run, "status", f"{event.status}: {event.reason}"[:_MAX_VALUE])
            self._client.set_terminated(self._run, _STATUS[event.status])

    def state_dict(self) -> dict[str, Any]:
        """The ID of the run."""
        return {"run": self._run}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a run."""
        self._run = str(state["run"])

    def _add(self, values: dict[str, float], iteration: int) -> None:
        now = time.time_ns() // 1_000_000
        self._pending += [self._mlflow.entities.Metric(name, value, now, iteration) for name, value in values.items()]
        if len(self._pending) >= _MAX_METRICS or time.monotonic() - self._sent_at >= _INTERVAL:
            self._send()

    def _send(self) -> None:
        while self._pending:
            self._client.log_batch(self._run, metrics=self._pending[:_MAX_METRICS])
            del self._pending[:_MAX_METRICS]
        self._sent_at = time.monotonic()
