"""The loop over epochs: the order of the images, the learning rates, and when each head stops and leaves its program.

The loop is the same for all heads; a `Network` computes the steps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np

from featurebank.metrics import Metric
from featurebank.training.batches import Network, OnTrained
from featurebank.training.history import History
from featurebank.training.monitors import COMPUTED, LOSS, monitored_metric, monitored_value
from featurebank.training.options import TrainingOptions
from featurebank.training.schedules import Plateau
from featurebank.training.stopping import EarlyStopping, Narrowing


@dataclass
class _Course:
    """A head while it is trained."""

    position: int
    """Index in the sequence of heads passed to `train`."""
    head: TrainingOptions
    stopping: EarlyStopping
    plateau: Plateau | None
    scale: float = 1.0
    """Factor that the plateau has applied to the learning rate so far."""
    metric: Metric | None = None
    """What the head monitors, if the program does not compute it; known after the first epoch."""
    history: History = field(default_factory=History)
    seconds: float = 0.0
    active: bool = True


def _do_nothing() -> None:
    pass


_after_epoch: ContextVar[Callable[[], None]] = ContextVar("after_epoch", default=_do_nothing)
_after_part: ContextVar[Callable[[], None]] = ContextVar("after_part", default=_do_nothing)


@contextlib.contextmanager
def between_epochs(callback: Callable[[], None], *, within: Callable[[], None] = _do_nothing) -> Iterator[None]:
    """Calls a function after every epoch trained inside the block; an exception that it raises ends the training.

    Args:
        callback: called after every epoch.
        within: called after each part of an epoch, or of another pass over images, that are read part by part.
    """
    tokens = _after_epoch.set(callback), _after_part.set(within)
    try:
        yield
    finally:
        _after_epoch.reset(tokens[0])
        _after_part.reset(tokens[1])


def part_ended() -> None:
    """Calls `within` of `between_epochs`, in the thread that entered it: after some of the images were used."""
    _after_part.get()()


def train(heads: Sequence[TrainingOptions], network: Network, on_trained: OnTrained) -> None:
    """Trains the heads of one program until each has stopped.

    Args:
        heads: heads of one program; they have the same batch size and seed.
        network: the network of these heads, in the same order.
        on_trained: called as soon as a head stops.
    """
    _Training(heads, network, on_trained).run()


class _Training:
    def __init__(self, heads: Sequence[TrainingOptions], network: Network, on_trained: OnTrained) -> None:
        self._network, self._on_trained = network, on_trained
        self._courses = [_course(position, head) for position, head in enumerate(heads)]
        self._rng = np.random.default_rng(heads[0].random_state)
        self._size = min(heads[0].batch_size, network.images)
        self._narrowing = Narrowing()

    def run(self) -> None:
        epoch = 0
        while active := [course for course in self._courses if course.active]:
            epoch += 1
            began = time.perf_counter()
            self._epoch(epoch)
            seconds = time.perf_counter() - began
            for course in active:
                course.seconds += seconds / len(active)
            self._stop(epoch)
            _after_epoch.get()()
            self._narrow(seconds)

    def _epoch(self, epoch: int) -> None:
        trained, rates = self._steps(epoch)
        validation = self._network.evaluate() if self._network.validated else None
        monitored, better = self._monitored(), []
        for k, course in enumerate(self._courses):
            if course.active:
                course.history.learning_rate.append(float(rates[k]))
            better.append(course.active and self._record(k, epoch, trained, validation, monitored.get(k)))
        self._network.keep(np.array(better))

    def _steps(self, epoch: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Trains for an epoch, part by part; returns losses and accuracies, and the last learning rates, (K,) each."""
        active, steps = np.array([course.active for course in self._courses]), -(-self._network.images // self._size)
        schedules = [(course.head.scheduled(), course.scale) for course in self._courses]
        losses, accuracies, rates = np.zeros(len(active)), np.zeros(len(active)), np.empty((0, len(active)))
        seen, done = 0.0, 0
        for batches in self._network.parts(self._size, self._rng, epoch):
            part = slice(done, done + len(batches.rows))
            rates = np.stack([schedule.rates(epoch, steps, part) * scale for schedule, scale in schedules], axis=1)
            loss, accuracy = self._network.run_epoch(batches, rates.astype(np.float32), active)
            done, images = part.stop, float(batches.weights.sum(dtype=np.float64))
            seen += images
            losses = losses + (loss - losses) * (images / seen)  # of a single part, its own values, not rounded
            accuracies = accuracies + (accuracy - accuracies) * (images / seen)
            if done < steps:
                part_ended()
        return (losses, accuracies), rates[-1]

    def _monitored(self) -> dict[int, float]:
        """Returns, for each active head that monitors a metric that the program does not compute, its value."""
        places = [k for k, one in enumerate(self._courses) if one.active and one.head.monitor not in COMPUTED]
        if not places or not self._network.validated:
            return {}
        predictions = self._network.predict()
        values = {}
        for k in places:
            course = self._courses[k]
            if course.metric is None:
                course.metric = monitored_metric(course.head.monitor, predictions.classes.tolist())
            values[k] = monitored_value(course.metric, predictions.probabilities[k], *predictions[1:])
        return values

    def _record(
        self,
        k: int,
        epoch: int,
        trained: tuple[np.ndarray, np.ndarray],
        validation: tuple[np.ndarray, np.ndarray] | None,
        monitored: float | None,
    ) -> bool:
        """Records an epoch of head k; returns whether its weights are the best so far."""
        course = self._courses[k]
        head, history, loss = course.head, course.history, float(trained[0][k])
        history.loss.append(loss)
        history.accuracy.append(float(trained[1][k]))
        better, going_on, value = np.isfinite(loss), np.isfinite(loss), loss
        if validation is not None:
            val_loss, val_accuracy = float(validation[0][k]), float(validation[1][k])
            history.val_loss.append(val_loss)
            history.val_accuracy.append(val_accuracy)
            value = val_loss if head.monitor == LOSS else -val_accuracy if np.isfinite(val_loss) else np.nan
            if monitored is not None and course.metric is not None:
                history.monitor = head.monitor
                history.monitored.append(monitored)
                value = -course.metric.goodness(monitored) if np.isfinite(val_loss) else np.nan
            better, patient = course.stopping.update(epoch, value)
            going_on &= patient
        if better:
            history.best_epoch = epoch
        if course.plateau:
            course.scale = course.plateau.lowered(head.learning_rate * course.scale, value) / head.learning_rate
        course.active = bool(going_on and epoch < head.epochs)
        return bool(better)

    def _stop(self, epoch: int) -> None:
        """Hands over the heads that stopped in this epoch."""
        for k, course in enumerate(self._courses):
            if not course.active and len(course.history.loss) == epoch:
                self._on_trained(course.position, self._handed_over(k, course), course.seconds)

    def _handed_over(self, k: int, course: _Course) -> str | None:
        history = course.history
        losses = [history.loss[-1], *history.val_loss[-1:]]
        last = self._network.validated or np.isfinite(losses[0])
        if last and history.best_epoch and self._network.hand_over(k, course.head, _plain(history)):
            return None
        reason = next((f"the loss is {loss}" for loss in losses if not np.isfinite(loss)), "its weights overflowed")
        return f"diverged in epoch {len(history.loss)} ({reason}): try a smaller learning_rate"

    def _narrow(self, seconds: float) -> None:
        positions = self._narrowing.decide([course.active for course in self._courses], seconds)
        if positions:
            self._network.narrow(positions)
            self._courses = [self._courses[k] for k in positions]


def _course(position: int, head: TrainingOptions) -> _Course:
    plateau = None
    if head.schedule == "plateau":
        plateau = Plateau(head.plateau_factor, head.plateau_patience, head.plateau_floor)
    return _Course(position, head, EarlyStopping(head.patience, head.min_delta), plateau)


def _plain(history: History) -> History:
    """Returns a history without NaN and infinity, which JSON cannot hold: epochs after the best one may diverge."""
    history.loss = [v if np.isfinite(v) else None for v in history.loss]  # type: ignore[misc]
    history.monitored = [v if np.isfinite(v) else None for v in history.monitored]  # type: ignore[misc]
    history.val_loss = [v if np.isfinite(v) else None for v in history.val_loss]  # type: ignore[misc]
    return history
