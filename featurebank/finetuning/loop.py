"""The training loop of a fine-tune: phases, epochs, steps, validation, explosions and checkpoints.

A phase trains some of the layers until they stop improving; then the next phase starts. The best weights so far are
those of the head (epoch 0) or of the best epoch of any phase; each phase ends with them, and so does the fine-tune. A
checkpoint holds all that the rest depends on (`TrainingState`, the weights, the optimizer's slots and the best
weights), so that a fine-tune resumes with the same batches, augmentations and learning rates.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

from featurebank.errors import BankWarning, HeadWarning
from featurebank.finetuning.checkpoint import Checkpoint, TrainingState
from featurebank.finetuning.images import batches, order, view_of
from featurebank.finetuning.running_phase import RunningPhase
from featurebank.finetuning.task import Task, ValidationResult
from featurebank.runs.logs.tensorboard import TensorBoardWriter
from featurebank.system.progress import Advance, Reporter
from featurebank.training.monitors import COMPUTED
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
        self._clock = time.perf_counter()  # when the seconds of the state were counted last
        self._due = self._clock + _CHECKPOINT_S  # when the next checkpoint is due
        self.state = TrainingState(best={**head.summary(task.options.monitor), "epoch": 0})

    def run(self) -> TrainingState:
        """Trains all phases, from the checkpoint if there is one; afterwards the network has the best weights."""
        checkpoint = self._load_checkpoint()
        self._show()
        while self.state.phase < len(self._task.phases):
            phase = RunningPhase(self._task, self.state.phase)
            if checkpoint:
                phase.restore(checkpoint)
                checkpoint = None
            while not self.state.ended:
                self._epoch(phase)
            phase.restore_best()
            self._finish_phase()
        self._task.network.restore_momenta()
        self._count_seconds()
        return self.state

    def _finish_phase(self) -> None:
        """Records the phase and moves on to the next one.

        If the phase brought no improvement, the later ones are skipped, unless the options say `keep_going`.
        """
        state, phases = self.state, self._task.phases
        ran = state.history.get("phase", []).count(state.phase + 1)
        improved = state.best["epoch"] > state.epochs_done - ran
        state.finished_phases.append({**phases[state.phase].record(), "epochs": ran, "improved": improved})
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

    def _epoch(self, phase: RunningPhase) -> None:
        """Trains and validates one epoch, or the rest of one; handles an explosion of the loss."""
        state, title = self.state, f"phase {self.state.phase + 1} epoch {self.state.epoch}"
        with self._reporter.track(title, len(self._task.labels), "images") as advance:
            result = self._task.evaluate() if self._train(phase, advance) else None
            if result is None or not math.isfinite(result.value(phase.training.monitor)):
                self._handle_explosion(phase)
                return
            self._record(phase, result)
        state.epoch += 1
        state.begin_epoch()
        self._save(phase)

    def _train(self, phase: RunningPhase, advance: Advance) -> bool:
        """Trains the remaining steps of the epoch; returns False if the loss explodes."""
        state, task = self.state, self._task
        rows = order(len(task.labels), phase.training.batch_size, (task.options.seed, state.phase, state.epoch))
        rates = phase.rates(state)
        view, classes = view_of(task.options.seed, state.epochs_done + state.retried), len(task.network.places)
        advance(state.seen)
        for images in batches(task.train, rows[state.step :], task.options.augmentation, view):
            batch = rows[state.step]
            rate = float(rates[state.step])
            loss, right = phase.step(images, batch, rate, state.number + 1)
            state.add_step(loss, right, len(batch))
            if state.explodes(loss, classes):
                return False
            advance(len(batch))
            if state.step < phase.steps:
                self._between(phase)
        return True

    def _record(self, phase: RunningPhase, result: ValidationResult) -> None:
        """Records the result of an epoch: in the curves, as the best weights if it is better, and for the patience."""
        state, monitor = self.state, phase.training.monitor
        state.add_epoch(result.objective, result.accuracy, float(phase.rates(state)[-1]))
        # With `val_loss` as monitor, a lower loss is not enough: no fine-tune may be less accurate than its head.
        worse = monitor in COMPUTED and result.accuracy < self._head.accuracy
        best = result.value(monitor) < state.best["value"] and not worse
        if best:
            phase.keep_best()
            state.best = {**result.summary(monitor), "epoch": state.epochs_done}
        phase.end_epoch(state, result.value(monitor))
        self._reporter.outcome(f"val acc {result.accuracy:.4f}")
        self._reporter.say(
            f"phase {state.phase + 1}, epoch {state.epoch} of {phase.training.epochs}: loss {state.loss:.4f}, "
            f"validation accuracy {result.accuracy:.4f}, loss {result.loss:.4f}{' (best so far)' if best else ''}"
        )
        self._show()

    def _between(self, phase: RunningPhase) -> None:
        """Validates and writes checkpoints between the steps of an epoch."""
        state, options = self.state, self._task.options
        if options.validate_every and state.step % options.validate_every == 0:
            result = self._validate_within_epoch(phase.steps)
            self._reporter.say(
                f"phase {state.phase + 1}, epoch {state.epoch}, step {state.step} of {phase.steps}: loss "
                f"{state.loss:.4f}, validation accuracy {result.accuracy:.4f}, loss {result.loss:.4f}"
            )
            state.add_validation(result.objective, result.accuracy)
            self._show()
        requested = options.checkpoint_every and state.step % options.checkpoint_every == 0
        if requested or time.perf_counter() >= self._due:
            self._save(phase)

    def _validate_within_epoch(self, steps: int) -> ValidationResult:
        """Evaluates the model within an epoch, on all validation images or on the next part of them."""
        options = self._task.options
        assert options.validate_every
        if options.validate_on == "all":
            return self._task.evaluate()
        parts = math.ceil(steps / options.validate_every)
        return self._task.evaluate(self.state.step // options.validate_every - 1, parts)

    def _show(self) -> None:
        """Sends the curves to TensorBoard."""
        if self._board:
            self._board.update(self.state.history, self._head.epoch_0())

    def _handle_explosion(self, phase: RunningPhase) -> None:
        """Restores the best weights; a first explosion lowers the learning rate, a second one ends the phase."""
        state = self.state
        where = f"phase {state.phase + 1}, epoch {state.epoch}, step {state.step}: the loss exploded"
        phase.start_again()
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
        self._save(phase)

    # ------------------------------------------------------------ checkpoints

    def _count_seconds(self) -> None:
        """Adds the time since the last call to the state."""
        now = time.perf_counter()
        self.state.seconds += now - self._clock
        self._clock = now

    def _save(self, phase: RunningPhase) -> None:
        """Writes a checkpoint, and sets the time of the next one."""
        self._count_seconds()
        phase.checkpoint(self.state).save(self._place)
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
