"""The training loop of a fine-tune: phases, epochs, steps, validation, explosions and checkpoints.

A phase trains some of the layers until they stop improving; then the next phase starts. The best weights so far are
those of the head (epoch 0) or of the best epoch of any phase; each phase ends with them, and so does the fine-tune. A
checkpoint holds all that the rest depends on (`TrainingState`, the weights, the optimizer's slots and the best
weights), so that a fine-tune resumes with the same batches, augmentations and learning rates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.augment import Augmentation
from featurebank.errors import BankWarning, HeadWarning
from featurebank.finetuning.checkpoint import Checkpoint, TrainingState
from featurebank.finetuning.images import batches, order, view_of
from featurebank.finetuning.phases import Phase
from featurebank.finetuning.program import phase_step
from featurebank.finetuning.task import Task, ValidationResult
from featurebank.runs.tensorboard import TensorBoardWriter
from featurebank.system.progress import Advance, Reporter
from featurebank.training.schedules import Plateau
from featurebank.training.stopping import EarlyStopping
from featurebank.words import counted

_LOWER = 0.1
"""The factor that reduces the learning rate after an explosion of the loss."""
_CHECKPOINT_S = 60.0
"""The interval between checkpoints within an epoch: the most work that is lost if the process dies."""
_CHECKPOINT_COST = 50
"""If writing a checkpoint is slow, the interval is this multiple of its duration, so that it costs 2 % at most."""


class Loop:
    """The training loop of one fine-tune.

    Args:
        task: the model, data, phases and options.
        head: the validation result of the head before the first step; its weights are the first best weights.
        place: the file of the checkpoint.
        reporter: receives one line per epoch.
        board: receives the curves during training, if not None.
    """

    def __init__(
        self, task: Task, head: ValidationResult, place: Path, reporter: Reporter,
        board: TensorBoardWriter | None = None,
    ) -> None:  # fmt: skip
        self._task, self._head, self._place, self._reporter, self._board = task, head, place, reporter, board
        self._augmentation = None if task.options.augment is None else Augmentation.parse(task.options.augment)
        self._labels = task.network.places[task.train.labels]
        self._clock = time.perf_counter()
        self._due = self._clock + _CHECKPOINT_S
        self.state = TrainingState(best={**head.summary(task.options.monitor), "epoch": 0})
        self._best: list[np.ndarray] = []
        self._program: Any
        self._variables: list[Any] = []
        self._stopping: EarlyStopping
        self._plateau: Plateau | None = None

    @property
    def _phase(self) -> Phase:
        return self._task.phases[self.state.phase]

    def run(self) -> TrainingState:
        """Trains all phases, from the checkpoint if there is one; afterwards the network has the best weights."""
        checkpoint = self._load_checkpoint()
        self._show()
        while self.state.phase < len(self._task.phases):
            self._enter(checkpoint)
            checkpoint = None
            while not self.state.ended:
                self._epoch()
            self._leave()
        self._task.network.restore_momenta()
        self._count_seconds()
        return self.state

    # ------------------------------------------------------------ phases

    def _enter(self, checkpoint: Checkpoint | None) -> None:
        """Prepares a phase: compiles its step, and sets weights and counters to their start or to the checkpoint's."""
        options, training = self._task.options, self._phase.training
        weights = training.class_weights(self._labels, int(self._task.network.places.max()) + 1)
        steps = len(order(len(self._labels), training.batch_size, (0,)))
        self._task.network.set_momenta(self._phase, steps, options.batch_norm_momentum)
        self._program = phase_step(self._task.network, self._phase, options, weights)
        self._variables = self._task.network.variables(self._phase)
        if checkpoint:
            self._restore(checkpoint)
            return
        self._best = self._snapshot()
        self._stopping = EarlyStopping(training.patience, training.min_delta)
        self._plateau = None
        if training.schedule == "plateau":
            self._plateau = Plateau(training.plateau_factor, training.plateau_patience, training.plateau_floor)

    def _leave(self) -> None:
        """Ends a phase: restores the best weights so far, records the phase, and moves on to the next one.

        If the phase brought no improvement, the later ones are skipped, unless the options say `keep_going`.
        """
        state, phases = self.state, self._task.phases
        self._assign(self._best)
        ran = state.history.get("phase", []).count(state.phase + 1)
        improved = state.best["epoch"] > state.epochs_done - ran
        state.finished_phases.append({**self._phase.record(), "epochs": ran, "improved": improved})
        left = len(phases) - state.phase - 1
        if left and not improved and not self._task.options.keep_going:
            self._reporter.say(
                f"phase {state.phase + 1} brought no improvement, so {counted(left, 'more phase')} "
                f"{'is' if left == 1 else 'are'} skipped (--keep-going continues)"
            )
            state.phase = len(phases)
        else:
            state.phase += 1
        state.begin_phase()

    # ------------------------------------------------------------ epochs

    def _epoch(self) -> None:
        """Trains and validates one epoch, or the rest of one; handles an explosion of the loss."""
        state = self.state
        with self._reporter.track(
            f"phase {state.phase + 1} epoch {state.epoch}", len(self._labels), "images"
        ) as advance:
            if not self._train(advance) or not self._validate():
                self._handle_explosion()
                return
        state.epoch += 1
        state.begin_epoch()
        self._save()

    def _train(self, advance: Advance) -> bool:
        """Trains the remaining steps of the epoch; returns False if the loss explodes."""
        state, options, training = self.state, self._task.options, self._phase.training
        rows = order(len(self._labels), training.batch_size, (options.seed, state.phase, state.epoch))
        rates = training.scheduled().rates(state.epoch, len(rows)) * state.rate * state.plateau_rate
        view, classes = view_of(options.seed, state.epochs_done + state.retried), len(self._task.network.places)
        advance(state.seen)
        for images in batches(self._task.train, rows[state.step :], self._augmentation, view):
            batch = rows[state.step]
            rate = float(rates[state.step])
            loss, right = self._program.step(images, self._labels[batch], rate, state.number + 1)
            state.add_step(loss, right, len(batch))
            if state.explodes(loss, classes):
                return False
            advance(len(batch))
            self._between(len(rows))
        return True

    def _between(self, steps: int) -> None:
        """Validates and writes checkpoints between the steps of an epoch, but not after the last step."""
        state, options = self.state, self._task.options
        if state.step == steps:
            return
        if options.validate_every and state.step % options.validate_every == 0:
            result = self._validate_within_epoch(steps)
            self._reporter.say(
                f"phase {state.phase + 1}, epoch {state.epoch}, step {state.step} of {steps}: loss "
                f"{state.total / state.seen:.4f}, validation accuracy {result.accuracy:.4f}, loss {result.loss:.4f}"
            )
            state.add_validation(result.objective, result.accuracy)
            self._show()
        requested = options.checkpoint_every and state.step % options.checkpoint_every == 0
        if requested or time.perf_counter() >= self._due:
            self._save()

    def _validate_within_epoch(self, steps: int) -> ValidationResult:
        """Evaluates the model within an epoch, on all validation images or on the next part of them."""
        options = self._task.options
        assert options.validate_every
        if options.validate_on == "all":
            return self._task.evaluate()
        parts = math.ceil(steps / options.validate_every)
        return self._task.evaluate(self.state.step // options.validate_every - 1, parts)

    def _validate(self) -> bool:
        """Evaluates the model after an epoch: records the curves, the best weights, and whether the phase ends.

        Returns:
            False if the loss is not finite.
        """
        state, training = self.state, self._phase.training
        result = self._task.evaluate()
        value = result.value(training.monitor)
        if not math.isfinite(value):
            return False
        # Patience is compared with the best epoch of this phase, not of all: in its first epochs, a phase may be worse,
        # while batch normalisation adapts to the images.
        _, going_on = self._stopping.update(state.epoch, value)
        loss, rate = state.total / state.seen, self._last_rate()
        state.add_epoch(loss, result.objective, result.accuracy, rate)
        # With `val_loss` as monitor, a lower loss is not enough: no fine-tune may be less accurate than its head.
        best = value < state.best["value"] and result.accuracy >= self._head.accuracy
        if best:
            self._best = self._snapshot()
            state.best = {**result.summary(training.monitor), "epoch": self.state.epochs_done}
        if self._plateau:
            state.plateau_rate = self._plateau.lowered(training.learning_rate * state.plateau_rate, value)
            state.plateau_rate /= training.learning_rate
        state.ended = not going_on or state.epoch >= training.epochs
        self._reporter.detail(f"val acc {result.accuracy:.4f}")
        self._reporter.say(
            f"phase {state.phase + 1}, epoch {state.epoch} of {training.epochs}: loss {loss:.4f}, validation accuracy "
            f"{result.accuracy:.4f}, loss {result.loss:.4f}{' (best so far)' if best else ''}"
        )
        self._show()
        return True

    def _show(self) -> None:
        """Sends the curves to TensorBoard."""
        if self._board:
            self._board.update(self.state.history, self._head.epoch_0())

    def _last_rate(self) -> float:
        """Returns the learning rate of the last step of the epoch."""
        training = self._phase.training
        steps = len(order(len(self._labels), training.batch_size, (0,)))
        rate = float(training.scheduled().rates(self.state.epoch, steps)[-1])
        return rate * self.state.rate * self.state.plateau_rate

    def _handle_explosion(self) -> None:
        """Restores the best weights; a first explosion lowers the learning rate, a second one ends the phase."""
        state = self.state
        where = f"phase {state.phase + 1}, epoch {state.epoch}, step {state.step}: the loss exploded"
        self._assign(self._best)
        self._program.reset()
        state.number = 0
        state.begin_epoch()
        if state.retried:
            line = f"{where} again: the phase ends; try a smaller learning_rate, warmup or global_clipnorm"
            state.ended = True
        else:
            line = f"{where}: trying again from the best weights so far, with a tenth of the learning rate"
            state.rate, state.retried, state.first, state.smooth = state.rate * _LOWER, True, None, None
        state.notes.append(line)
        self._reporter.warn(line, HeadWarning)
        self._save()

    # ------------------------------------------------------------ weights and checkpoints

    def _snapshot(self) -> list[np.ndarray]:
        """Returns copies of the variables that the phase trains."""
        return [np.array(variable.numpy()) for variable in self._variables]

    def _assign(self, values: Sequence[np.ndarray]) -> None:
        """Sets the variables that the phase trains."""
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    def _count_seconds(self) -> None:
        """Adds the time since the last call to the state."""
        now = time.perf_counter()
        self.state.seconds += now - self._clock
        self._clock = now

    def _save(self) -> None:
        """Writes a checkpoint, and sets the time of the next one."""
        self._count_seconds()
        self.state.stopping = asdict(self._stopping)
        self.state.plateau = asdict(self._plateau) if self._plateau else {}
        slots = [np.array(slot.numpy()) for slots in self._program.slots for slot in slots]
        arrays = {"weights": self._snapshot(), "slots": slots, "best": self._best}
        Checkpoint(self.state, arrays).save(self._place)
        now = time.perf_counter()
        self._due = now + max(_CHECKPOINT_S, _CHECKPOINT_COST * (now - self._clock))

    def _load_checkpoint(self) -> Checkpoint | None:
        """Loads the checkpoint and its state; returns None if there is no usable one."""
        try:
            checkpoint = Checkpoint.load(self._place)
        except ValueError as error:
            line = f"the checkpoint '{self._place}' is ignored, because {error}: the fine-tune starts again"
            self._reporter.warn(line, BankWarning)
            return None
        if checkpoint:
            self.state = state = checkpoint.state
            self._reporter.say(
                f"resuming at phase {state.phase + 1}, epoch {state.epoch}, after step {state.step}: the earlier "
                f"process trained for {state.seconds:.0f} s"
            )
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._assign(checkpoint.arrays["weights"])
        self._best = checkpoint.arrays["best"]
        flat = [slot for slots in self._program.slots for slot in slots]
        for slot, value in zip(flat, checkpoint.arrays["slots"], strict=True):
            slot.assign(value)
        self._stopping = EarlyStopping.restored(checkpoint.state.stopping)
        self._plateau = Plateau(**checkpoint.state.plateau) if checkpoint.state.plateau else None
