"""One phase of a fine-tune while it is trained: its compiled step, its weights and the best of them, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from featurebank.finetuning.checkpoint import Checkpoint, TrainingState
from featurebank.finetuning.images import order
from featurebank.finetuning.program import phase_step
from featurebank.finetuning.task import Task
from featurebank.training.schedules import Plateau
from featurebank.training.stopping import EarlyStopping


class RunningPhase:
    """A phase that is being trained; it starts with the present weights of the network, the best so far.

    Args:
        task: the model, data, phases and options of the fine-tune.
        number: the number of the phase, from 0.
    """

    def __init__(self, task: Task, number: int) -> None:
        self._task, phase, network = task, task.phases[number], task.network
        self.training = training = phase.training
        self.steps = len(order(len(task.labels), training.batch_size, (0,)))  # of each epoch
        class_weights = training.class_weights(task.labels, len(task.trained), task.trained, task.weights)
        network.set_momenta(phase, self.steps, task.options.batch_norm_momentum)
        self._program = phase_step(network, phase, task.options, class_weights)
        self._variables = network.variables(phase)
        self._best = self._weights()
        self._stopping = EarlyStopping(training.patience, training.min_delta)
        self._plateau: Plateau | None = None
        if training.schedule == "plateau":
            self._plateau = Plateau(training.plateau_factor, training.plateau_patience, training.plateau_floor)

    def rates(self, state: TrainingState) -> np.ndarray:
        """Returns the learning rate of each step of the current epoch: (steps,) float64."""
        return self.training.scheduled().rates(state.epoch, self.steps) * state.rate * state.plateau_rate

    def step(self, images: np.ndarray, rows: np.ndarray, rate: float, number: int) -> tuple[float, float]:
        """Takes one step with the training images in some rows, (b,); see `KerasStep.step`."""
        weights = None if self._task.weights is None else self._task.weights[rows]
        loss, right = self._program.step(images, self._task.labels[rows], rate, number, weights)
        return loss, right

    def end_epoch(self, state: TrainingState, value: float) -> None:
        """Decides from the monitored value of an epoch whether the phase ends, and whether the learning rate falls.

        Patience is compared with the best epoch of this phase, not of all: in its first epochs, a phase may be worse,
        while batch normalisation adapts to the images.
        """
        _, going_on = self._stopping.update(state.epoch, value)
        state.ended = not going_on or state.epoch >= self.training.epochs
        if self._plateau:
            rate = self._plateau.lowered(self.training.learning_rate * state.plateau_rate, value)
            state.plateau_rate = rate / self.training.learning_rate

    def keep_best(self) -> None:
        """Makes the present weights the best ones."""
        self._best = self._weights()

    def restore_best(self) -> None:
        """Gives the network the best weights so far."""
        self._assign(self._best)

    def start_again(self) -> None:
        """Gives the network the best weights so far, and the optimizer its state before the first step."""
        self.restore_best()
        self._program.reset()

    def checkpoint(self, state: TrainingState) -> Checkpoint:
        """Returns a checkpoint of the whole state; `state` receives what this phase knows."""
        state.stopping = asdict(self._stopping)
        state.plateau = asdict(self._plateau) if self._plateau else {}
        slots = [np.array(slot.numpy()) for slots in self._program.slots for slot in slots]
        return Checkpoint(state, {"weights": self._weights(), "slots": slots, "best": self._best})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continues from a checkpoint of this phase."""
        self._assign(checkpoint.arrays["weights"])
        self._best = checkpoint.arrays["best"]
        flat = [slot for slots in self._program.slots for slot in slots]
        for slot, value in zip(flat, checkpoint.arrays["slots"], strict=True):
            slot.assign(value)
        self._stopping = EarlyStopping.restored(checkpoint.state.stopping)
        self._plateau = Plateau(**checkpoint.state.plateau) if checkpoint.state.plateau else None

    def _weights(self) -> list[np.ndarray]:
        """Returns copies of the variables that the phase changes."""
        return [np.array(variable.numpy()) for variable in self._variables]

    def _assign(self, values: Sequence[np.ndarray]) -> None:
        """Sets the variables that the phase changes."""
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
