"""``Trainer``: train a network by the hyperparameters in its cfg, step by step or from data set to final weights.

An iteration runs ``subdivisions`` mini-batches forward and backward, whose gradients add up, and then updates the
weights once. What it does follows from the weights, the state of the trainer, the seed and the number of the iteration.
All of that is in the state file, so a run that is killed and resumed ends with the same weights, bit for bit, as an
uninterrupted one.
"""

from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .. import schedule
from ..devices import find_device
from ..distributed import ProcessGroup, is_main_process
from ..errors import CheckpointError, ConfigError, DarknetError, DataError
from ..layers import Gradients, StepContext
from ..network import Network, unwrap
from ..signals import DeferredSignals
from . import resume
from .batches import Data
from .callbacks import (
    Callback,
    CheckpointEvent,
    EndEvent,
    EvaluationEvent,
    StartEvent,
    StepEvent,
    check_callbacks,
)
from .checkpoints import CheckpointWriter, Progress, TrainingState, lock_files
from .determinism import deterministic_algorithms, iteration_seed
from .engine import ForwardBackward, Targets, loss_metrics, read_scalars, training_environment
from .filter_rejection import reinitialise_similar_filters
from .gradient_checkpointing import checkpoint_activations
from .label_rejection import LabelRejection
from .loader import Batch
from .loss_scale import all_finite
from .metrics import IterationMetrics, merge_mini_batches
from .nan_check import NaNCheck
from .optimizer import EMA, Optimizer, build_optimizer
from .options import TrainOptions, check_options, warn_of_ignored_options
from .session import Session, open_session
from .sparsity import ScalePenalty

_ADVICE = ". Continue from the last state with --resume; torchrun --max-restarts=N does so by itself"
_MAP_DIMENSIONS = 4  # of images [batch, channels, height, width]; text is [batch, inputs]
_STOPPING = "stopping after this iteration; press Ctrl-C again to stop without saving"


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        iteration: Number of updates made.
        loss: Running average of the loss.
        best: Best score; None if none was computed.
        stopped_early: Whether ``patience`` or a callback ended the run.
        weights: The final weights.
        score_name: What the score is: "mAP", "top-1", ...
        stop_reason: Why the run was stopped early; empty if it was not.
    """

    iteration: int
    loss: float
    best: float | None
    stopped_early: bool
    weights: pathlib.Path
    score_name: str
    stop_reason: str = ""


class Trainer:
    """Trains a network in place.

    Args:
        network: The network; its [net] has the hyperparameters.
        data: What ``run`` trains on: anything that ``data.formats.load_dataset`` reads (a .data file, a list, a
            data.yaml, COCO's JSON, a VOC folder), a data set, a ``TextFile``, or batches; for a classifier a .data
            file with ``labels=``, or ``TensorData``.
        options: What is not in [net].
        callbacks: Called at the events of ``run``, in the main process; see ``training.callbacks``.
        clear: Start at iteration 0, whatever number of images the weights have seen.
        gradients: "darknet": as C's CUDA build computes them; "darknet-cpu": as its CPU build does where it differs;
            "autograd": the derivatives of the losses. None: those of the run that is resumed, otherwise "darknet".

    Attributes:
        iteration: Number of updates made.
        lr: The learning rate of the last update.
        layer_metrics: For each mini-batch of the last iteration, by layer number, the numbers of its loss.
        optimizer: Updates the weights.
        ema: Moving average of the weights (``ema_alpha=``).
        group: The processes that train together.
        before_update: Called when the gradients of an iteration are complete; an exception it raises leaves the
            weights as they are.

    Raises:
        ConfigError: The network cannot be trained, or an option or callback is invalid.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Data | None = None,
        options: TrainOptions = TrainOptions(),  # noqa: B008 (immutable)
        callbacks: Sequence[Callback] = (),
        *,
        clear: bool = False,
        gradients: Gradients | str | None = None,
    ) -> None:
        network = unwrap(network)
        check_options(network)
        self.gradients = _parse_gradients(gradients)
        self._keeps_gradients = gradients is None  # of the run that is resumed
        _check_parameters(network)
        self.network = network
        self.net = network.options
        self.data = data
        self.options = options
        self.callbacks = tuple(callbacks)
        check_callbacks(self.callbacks)
        self.clear = clear
        self.seed = options.seed
        self.rng = random.Random(options.seed)
        self.group = options.process_group or ProcessGroup()
        self.engine, self.optimizer, self.penalty = self._create_engine()
        self.ema = EMA(network.parameters(), self.net)
        self.label_rejection = LabelRejection()
        self.nan_check: NaNCheck | None = None
        self.progress = Progress()
        if clear:
            network.seen = 0
        self.iteration = network.seen // schedule.images_per_iteration(self.net)
        self.lr = 0.0
        self.layer_metrics: list[dict[int, dict[str, float]]] = []
        self.before_update: Callable[[], None] | None = None
        warn_of_ignored_options(network)

    def step(self, pairs: Sequence[tuple[Tensor, Targets]]) -> float:
        """Run one iteration: mini-batches forward and backward, then an update of the weights.

        Args:
            pairs: For each mini-batch the images, float [batch, channels, height, width] in 0..1, and their targets:
                for each image a tensor [n, 5] of cx, cy, w, h relative to the image and the class, with a sixth column
                of identities for tracking; for a classifier one tensor [batch, classes].

        Returns:
            C's cost, summed over the mini-batches.

        Raises:
            DataError: There is no mini-batch, or a mini-batch has more or fewer targets than images.
        """
        if not pairs:
            raise DataError("no mini-batch: expected one (images, targets) pair per subdivision")
        costs: list[Tensor] = []
        metrics: list[dict[int, dict[str, Tensor]]] = []
        images = 0
        sequence_length = schedule.sequence_length(self.net, self.iteration)
        with self.engine.training(self.iteration, self.group):
            for subdivision, (x, targets) in enumerate(pairs):
                is_last = subdivision == len(pairs) - 1
                images += len(x) * self.group.world_size
                context = self._context(x, self.network.seen + images, subdivision, sequence_length)
                outputs = self.engine.run(x, targets, context, sums_gradients=is_last)
                costs.append(torch.stack([output.loss.cost for output in outputs]).mean())
                metrics.append(loss_metrics(self.network, outputs))
        self.iteration += 1
        self.lr = schedule.learning_rate(self.net, self.iteration, self.rng)
        with training_environment():
            cost = self._finish_gradients(costs, metrics)
            self.penalty.add_gradients(images * sequence_length)
            self.optimizer.step(self.lr, images * sequence_length, self.iteration)
            self.ema.update(self.iteration)
            reinitialise_similar_filters(self.network, self.iteration)
        self.network.seen = self.iteration * schedule.images_per_iteration(self.net)
        return cost

    def run(self) -> TrainResult:
        """Train up to max_batches, and write weights, state, log and chart into the output folder.

        The first signal (Ctrl-C, SIGTERM) ends the run after the current iteration; its state is saved.

        A callback that raises ``StopTraining`` ends it likewise, and so does ``patience``; then the final weights are
        written too.

        Raises:
            DarknetError: The data, the weights or the cfg are invalid, nothing is left to train, a loss, gradient
                or weight is NaN or Inf, or a callback has failed.
            KeyboardInterrupt: A signal has ended the run.
        """
        metrics = None
        with ExitStack() as stack:
            stack.enter_context(training_environment())
            start = self._prepare(stack)
            session = open_session(
                self.network,
                self.data,
                self.options,
                self.group,
                start,
                gradients=self.gradients,
                iteration=self.iteration,
                seed=self.seed,
                callbacks=self.callbacks,
            )
            writer, callbacks, console = session.writer, session.callbacks, session.console
            self._enter_training_modes(stack)
            signals = stack.enter_context(DeferredSignals(lambda: console.message(_STOPPING)))
            stack.enter_context(self._reporting_end(session))
            is_ended = self._start_callbacks(session, start)
            for batch in () if is_ended else session.batches:
                metrics = self._run_iteration(batch, session)
                if self.options.patience and self._is_stale():
                    callbacks.stop(f"no improvement in {self.options.patience} evaluations")
                is_late = time.monotonic() - session.saved_at > 60 * self.options.save_minutes
                is_ended, interrupted, overdue = self._any(callbacks.ends_run, signals.received, is_late)
                is_scheduled = writer.is_due(self.iteration) or overdue
                if interrupted or is_scheduled:
                    self._save(session, keep_backup=not is_scheduled)
                if interrupted:
                    console.message(f"stopped at iteration {self.iteration}; continue with --resume")
                    raise KeyboardInterrupt
                if is_ended:
                    break
            (has_failed,) = self._any(callbacks.error is not None)
            if metrics is not None:
                self._save(session, keep_backup=has_failed)
            if has_failed:
                raise self._callback_error(session, is_saved=metrics is not None)
            if is_ended:
                callbacks.stop("by the main process")  # which has its reason already
            if self.group.is_main and not (is_ended and metrics is None):
                self._save_weights(session, "final")
            reason = callbacks.stop_reason
        progress = self.progress
        return TrainResult(
            self.iteration,
            progress.average_loss,
            progress.best,
            reason is not None,
            writer.path("final"),
            session.score_name,
            reason or "",
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what the next iteration depends on, besides the weights and torch's random generator."""
        return {
            "iteration": self.iteration,
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
            "label_rejection": vars(self.label_rejection).copy(),
            "scaler": vars(self.engine.scaler).copy(),
            "rng": self.rng.getstate(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a ``state_dict``; the network must have the weights of the same iteration.

        Raises:
            KeyError: An entry is missing.
            ValueError: The state belongs to another network or optimizer.
        """
        self.iteration = state["iteration"]
        self.network.seen = self.iteration * schedule.images_per_iteration(self.net)
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.label_rejection = LabelRejection(**state["label_rejection"])
        scaler = vars(self.engine.scaler)
        scaler.update({name: state["scaler"][name] for name in scaler})
        version, internal, gauss = state["rng"]
        self.rng.setstate((version, tuple(internal), gauss))

    def _create_engine(self) -> tuple[ForwardBackward, Optimizer, ScalePenalty]:
        options = self.options
        engine = ForwardBackward(
            self.network, self.gradients, freeze=options.freeze, amp=options.amp_dtype, rng=self.rng
        )
        optimizer = build_optimizer(self.network, self.net, gradients=self.gradients)
        return engine, optimizer, ScalePenalty(self.network, options.sparsity)

    def _context(self, x: Tensor, seen: int, subdivision: int, sequence_length: int) -> StepContext:
        return StepContext(
            size=(x.shape[3], x.shape[2]) if x.dim() == _MAP_DIMENSIONS else (1, 1),
            seen=seen,
            iteration=self.iteration,
            max_batches=self.net.max_batches,
            burn_in=self.net.burn_in,
            subdivision=subdivision,
            sequence=sequence_length,
            gradients=self.gradients,
            label_smooth_eps=self.net.label_smooth_eps,
            reject=lambda delta, classes: self.label_rejection(self.net, self.iteration, delta, classes),
            all_reduce=self.group.all_reduce if self.group.sync_bn else None,
            time_steps=max(self.net.time_steps, 1),
            exact_recurrence=self.engine.exact_recurrence,
            gradient_scale=self.engine.scaler.factor,
            try_fix_nan=self.net.try_fix_nan,
        )

    def _finish_gradients(self, costs: Sequence[Tensor], metrics: Sequence[dict[int, dict[str, Tensor]]]) -> float:
        """Unscale the gradients and check them; read all numbers of the iteration.

        Reading is the one synchronisation of an iteration.

        Args:
            costs: The cost of each mini-batch.
            metrics: See ``loss_metrics``, for each mini-batch.

        Returns:
            The sum of the costs.
        """
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        parts = [value for layers in metrics for values in layers.values() for value in values.values()]
        finite, *values = read_scalars([all_finite(gradients), *costs, *parts])
        remaining = iter(values[len(costs) :])
        self.layer_metrics = [
            {layer: {name: next(remaining) for name in names} for layer, names in layers.items()} for layers in metrics
        ]
        usable = self.engine.scaler.unscale_(gradients, bool(finite))
        if not usable:
            self.network.zero_grad()  # float16 overflow: skip this update
        if self.net.try_fix_nan:
            for gradient in gradients:
                gradient.nan_to_num_(0.0, 0.0, 0.0)
        if self.nan_check is not None:
            self.nan_check.check_gradients(self.layer_metrics, bool(finite) or not usable or self.net.try_fix_nan)
        if self.before_update is not None:
            self.before_update()
        return sum(values[: len(costs)])

    def _prepare(self, stack: ExitStack) -> resume.Start:
        """Join the other processes, fill the network and move it; ``stack`` undoes what does not outlive the run."""
        network = self.network
        folder = resume.output_folder(self.data, self.options)
        name = resume.run_name(network.config.path, self.options)
        given = self.options.process_group
        if is_main_process() if given is None else given.is_main:
            stack.enter_context(lock_files(folder, name))
        start = resume.load_start(network, self.options, folder, clear=self.clear, data=self.data)
        if start.state is not None:
            self._adopt_recipe(start.state, start.path)
        options = self.options
        if options.process_group is None:
            self.group = ProcessGroup.init(sync_bn=options.sync_bn, advice=_ADVICE)
            stack.callback(self.group.destroy)
            stack.callback(self.engine.leave)
        stack.enter_context(deterministic_algorithms() if options.deterministic else nullcontext())
        if options.device is not None:
            network.to(self.group.device(find_device(options.device)))
        if self._is_channels_last:
            stack.enter_context(_channels_last(network))
        if start.state is None:
            self.iteration = network.seen // schedule.images_per_iteration(self.net)
            self.progress = Progress(evaluated_at=self.iteration)
        else:
            self._restore(start.state, start.path)
        is_unfinished = start.path is not None and not CheckpointWriter(folder, name).has_final()
        if not (is_unfinished and self.iteration == self.net.max_batches):  # else only the final weights are missing
            resume.check_iterations_left(network, self.iteration)
        self.nan_check = NaNCheck(network, self.group)
        stack.callback(setattr, self, "nan_check", None)
        if start.state is not None:
            self.nan_check.last_saved = f"{start.path} has iteration {self.iteration}"
        return start

    def _adopt_recipe(self, state: TrainingState, path: pathlib.Path | None) -> None:
        """Continue with the options and gradients of a run where no others are given."""
        try:
            self.options = self.options.resumed(state.recipe)
            if self._keeps_gradients:
                self.gradients = _parse_gradients(state.recipe.get("gradients"))
            self.engine, self.optimizer, self.penalty = self._create_engine()
        except (ConfigError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: entry recipe: {error}") from error

    def _restore(self, state: TrainingState, path: pathlib.Path | None) -> None:
        """Continue from a state, whose weights the network has."""
        try:
            self.load_state_dict(dict(state.trainer))
            self.progress = replace(state.progress)
        except (ValueError, LookupError, TypeError, RuntimeError, OverflowError) as error:
            raise CheckpointError(f"{path}: does not fit {self.network.config.path}: {error}") from error
        self.seed = state.seed

    def _enter_training_modes(self, stack: ExitStack) -> None:
        """Start all processes from the same weights; keep torch's generator; recompute activations if asked to."""
        device = next(self.network.parameters()).device
        self.group.broadcast_(self.network.state_dict().values())
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        if self.options.gradient_checkpointing:
            stack.enter_context(checkpoint_activations(self.network))

    def _start_callbacks(self, session: Session, start: resume.Start) -> bool:
        """Restore the callbacks of the run that is resumed, and start all. Returns whether the run is to end."""
        callbacks = session.callbacks
        if start.state is not None:
            callbacks.load_state_dict(start.state.callbacks)
        callbacks.emit(
            StartEvent(
                name=session.writer.name,
                folder=session.writer.folder,
                iteration=self.iteration,
                max_batches=self.net.max_batches,
                resumed=start.state is not None,
                score_name=session.score_name,
                recipe=deepcopy(dict(session.recipe)),  # which the state file has
                network=self.network,
            )
        )
        (is_ended,) = self._any(callbacks.ends_run)
        return is_ended

    @contextmanager
    def _reporting_end(self, session: Session) -> Iterator[None]:
        """Tell the callbacks how the block ended; an error of theirs does not replace another."""
        callbacks, progress = session.callbacks, self.progress
        try:
            yield
            if callbacks.error is not None:  # since the decision to go on
                raise self._callback_error(session, is_saved=True)
        except BaseException as error:
            is_signal = isinstance(error, KeyboardInterrupt)
            status: Literal["interrupted", "failed"] = "interrupted" if is_signal else "failed"
            reason = "" if is_signal else f"{type(error).__name__}: {error}"
            callbacks.emit(EndEvent(self.iteration, status, reason, progress.average_loss, progress.best))
            raise
        stop = callbacks.stop_reason
        ended: Literal["stopped", "finished"] = "finished" if stop is None else "stopped"
        callbacks.emit(EndEvent(self.iteration, ended, stop or "", progress.average_loss, progress.best))
        if callbacks.error is not None:
            raise self._callback_error(session, is_saved=True)

    def _callback_error(self, session: Session, *, is_saved: bool) -> DarknetError:
        """The error of a callback as that of the run; in other processes than the main one a note of it."""
        error = session.callbacks.error
        if error is None:
            return DarknetError("a callback has failed in the main process")
        if is_saved:
            session.console.message(f"{session.writer.state} has iteration {self.iteration}; continue with --resume")
        return error

    def _run_iteration(self, batch: Batch, session: Session) -> IterationMetrics:
        """Train on a batch, evaluate if that is due, and report both."""
        if self.nan_check is not None:
            self.nan_check.batch = batch
        torch.manual_seed(iteration_seed(self.seed, batch.iteration, self.group.rank))
        start = time.monotonic()
        cost = self.step(self._in_memory_format(batch))
        images = sum(len(x) for x, _ in batch.pairs) * self.group.world_size
        loss = self.group.sum(cost, next(self.network.parameters()).device) / images
        self.progress.add_loss(loss)
        throughput = session.throughput
        throughput.update()
        metrics = IterationMetrics(
            iteration=self.iteration,
            loss=loss,
            average_loss=self.progress.average_loss,
            lr=self.lr,
            seconds=time.monotonic() - start,
            images=self.network.seen,
            images_per_second=throughput.images_per_second(images),
            hours_left=throughput.hours_left(self.iteration, self.net.max_batches),
            layers=merge_mini_batches(self.layer_metrics),
            mini_batches=self.layer_metrics,
        )
        is_due = self._is_evaluation_due(session)
        session.callbacks.emit(StepEvent(metrics, is_due))
        if is_due:
            self._evaluate(session)
        return metrics

    @property
    def _is_channels_last(self) -> bool:
        if self.options.channels_last is None:
            return next(self.network.parameters()).device.type == "cpu"
        return self.options.channels_last

    def _in_memory_format(self, batch: Batch) -> Sequence[tuple[Tensor, Targets]]:
        if not self._is_channels_last:
            return batch.pairs
        return [
            (x.contiguous(memory_format=torch.channels_last) if x.dim() == _MAP_DIMENSIONS else x, targets)
            for x, targets in batch.pairs
        ]

    def _is_evaluation_due(self, session: Session) -> bool:
        is_due = self.iteration >= max(self.progress.evaluated_at + session.map_every, self.net.burn_in)
        return session.metric is not None and (is_due or self.iteration == self.net.max_batches)

    def _evaluate(self, session: Session) -> None:
        """Compute the score, and save the best weights."""
        metric = session.metric
        if metric is None:
            return
        self._average_statistics()
        score = metric.compute()
        is_best = self.progress.add_score(score, self.iteration)
        best = score if self.progress.best is None else self.progress.best
        session.callbacks.emit(EvaluationEvent(self.iteration, metric.name, score, best, is_best))
        if self.group.is_main and is_best:
            self._save_weights(session, "best")

    def _is_stale(self) -> bool:
        return self.progress.stale_evaluations >= self.options.patience

    def _any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is true in any process."""
        return self.group.any(flags, next(self.network.parameters()).device)

    def _average_statistics(self) -> None:
        """Make the rolling statistics of batch norm the same in all processes, if they are not synchronised."""
        if not self.group.sync_bn:
            self.group.average_([buffer for buffer in self.network.buffers() if buffer.is_floating_point()])

    def _save(self, session: Session, *, keep_backup: bool = False) -> None:
        """Write the _last files, and the numbered one if it is due; the state of the run before is not needed then."""
        self._average_statistics()
        if self.nan_check is not None:
            self.nan_check.check_weights()
        session.saved_at = time.monotonic()
        if not self.group.is_main:
            return
        writer, callbacks = session.writer, session.callbacks
        if self.iteration % writer.every == 0:
            self._save_weights(session, self.iteration)
        if self.ema.tensors is not None:
            with self.ema.applied():
                self._save_weights(session, "ema")
        writer.save_state(
            self.network, self.state_dict(), self.progress, self.seed, session.recipe, callbacks.state_dict()
        )
        if not keep_backup:
            writer.remove_backup()
        if self.nan_check is not None:
            self.nan_check.last_saved = f"{writer.state} has iteration {self.iteration}"
        callbacks.emit(CheckpointEvent(self.iteration, "last", writer.path("last"), writer.state))

    def _save_weights(self, session: Session, kind: str | int) -> None:
        path = session.writer.save(self.network, kind)
        name = kind if isinstance(kind, str) else "numbered"
        session.callbacks.emit(CheckpointEvent(self.iteration, name, path))


@contextmanager
def _channels_last(network: Network) -> Iterator[None]:
    """Store the weights of convolutions channels-last inside the block."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _parse_gradients(gradients: Gradients | str | None) -> Gradients:
    try:
        return Gradients.DARKNET if gradients is None else Gradients(gradients)
    except ValueError:
        raise ConfigError(f"gradients: expected one of {', '.join(Gradients)}, got {gradients!r}") from None


def _check_parameters(network: Network) -> None:
    """Raise ConfigError if a parameter cannot be trained: another type than float32, or made in inference mode."""
    for name, parameter in network.named_parameters():
        if parameter.dtype is not torch.float32:
            raise ConfigError(
                f"{name} is {parameter.dtype}: expected float32. Call network.float() before training; "
                "TrainOptions(amp=...) selects mixed precision"
            )
        if parameter.is_inference():
            raise ConfigError(
                f"{name} was created inside torch.inference_mode() and cannot be trained: create the network outside"
            )
