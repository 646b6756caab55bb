"""Checkpoints: the whole state of an interrupted fine-tune in one file, which is written atomically."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from featurebank.system.archive import read_npz
from featurebank.system.backing.directories import is_file
from featurebank.system.files import atomic_path
from featurebank.system.sealed_json import is_whole_archive, seal_archive

_VERSION = 1
_FORMER_NAMES = {"told": "finished_phases"}
"""Fields of `TrainingState` that older checkpoints hold under another name."""

_EXPLODED = 10.0
"""The loss explodes if it exceeds this multiple of the first loss and is worse than guessing."""
_SMOOTHING = 0.2

_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile)
"""The errors that zipfile, numpy and json raise on damaged bytes."""

Arrays = Mapping[str, Sequence[np.ndarray]]
"""Named lists of arrays."""


@dataclass
class TrainingState:
    """The progress of a fine-tune; together with the weights in the checkpoint, it determines the rest."""

    phase: int = 0
    """The current phase, counted from 0; the number of phases after the last one."""
    epoch: int = 1
    """The current epoch of the phase."""
    step: int = 0
    """The number of steps done in this epoch."""
    number: int = 0
    """The number of the optimizer's steps since it was reset."""
    taken: int = 0
    """The number of steps in all phases, including those of epochs that exploded."""
    total: float = 0.0
    """The sum of the losses of this epoch's images."""
    right: float = 0.0
    """The number of this epoch's images that were classified correctly, before the step that used them."""
    seen: int = 0
    """The number of images of this epoch so far."""
    rate: float = 1.0
    """The factor by which explosions have reduced the learning rate."""
    plateau_rate: float = 1.0
    """The factor by which plateaus have reduced it."""
    first: float | None = None
    """The loss of the first step of the phase."""
    smooth: float | None = None
    """The moving mean of the loss."""
    retried: bool = False
    """Whether this phase was already retried after an explosion."""
    ended: bool = False
    """Whether the phase has no further epoch."""
    stopping: dict[str, Any] = field(default_factory=dict)
    plateau: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    """The best epoch (over all phases; 0 is the head) with its value, accuracy and loss."""
    history: dict[str, list[Any]] = field(default_factory=dict)
    finished_phases: list[dict[str, Any]] = field(default_factory=list)
    """The results of the finished phases."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def epochs_done(self) -> int:
        """The number of finished epochs in all phases."""
        return len(self.history.get("phase", []))

    @property
    def loss(self) -> float:
        """The mean loss of this epoch's images so far."""
        return self.total / self.seen

    def add_step(self, loss: float, right: float, images: int) -> None:
        """Adds a step with its mean loss, and the number of its images that were classified correctly."""
        self.number, self.taken, self.step = self.number + 1, self.taken + 1, self.step + 1
        self.total, self.right, self.seen = self.total + loss * images, self.right + right, self.seen + images

    def add_epoch(self, val_loss: float, val_accuracy: float, learning_rate: float) -> None:
        """Adds an epoch to the history, with the means of its images."""
        values = {
            "phase": self.phase + 1, "loss": self.loss, "accuracy": self.right / self.seen, "val_loss": val_loss,
            "val_accuracy": val_accuracy, "learning_rate": learning_rate,
        }  # fmt: skip
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)

    def add_validation(self, loss: float, accuracy: float) -> None:
        """Adds validation results within an epoch to the history, with the means of the epoch so far."""
        self.history.setdefault("steps", []).append(
            {"phase": self.phase + 1, "epoch": self.epoch, "step": self.step, "taken": self.taken,
             "loss": _finite(self.loss), "accuracy": self.right / self.seen,
             "val_loss": _finite(loss), "val_accuracy": accuracy}
        )  # fmt: skip

    def explodes(self, loss: float, classes: int) -> bool:
        """Returns whether the smoothed loss is NaN, or far above both the first loss and that of guessing.

        Args:
            loss: the loss of the last step.
            classes: the number of classes.
        """
        if self.first is None or self.smooth is None:
            self.first = self.smooth = loss
        self.smooth += _SMOOTHING * (loss - self.smooth)
        return not self.smooth <= max(_EXPLODED * self.first, math.log(classes))  # true of NaN

    def begin_epoch(self) -> None:
        """Resets the counters to the beginning of an epoch."""
        self.step, self.total, self.right, self.seen = 0, 0.0, 0.0, 0

    def begin_phase(self) -> None:
        """Resets everything that belongs to a phase: counters, learning rate, and the mean of the loss."""
        fresh = TrainingState()
        for name in ("epoch", "step", "number", "total", "right", "seen", "rate", "plateau_rate", "first", "smooth",
                     "retried", "ended"):  # fmt: skip
            setattr(self, name, getattr(fresh, name))


def _finite(value: float) -> float | None:
    """Returns a number as JSON can hold it: None for NaN and infinity."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file."""

    state: TrainingState
    arrays: dict[str, list[np.ndarray]]

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Loads a checkpoint; returns None if the file does not exist.

        Raises:
            ValueError: it is damaged, or of another version.
        """
        if not is_file(path):
            return None
        try:
            if is_whole_archive(path) is False:
                message = "its checksum does not match its content"
                raise ValueError(message)
            stored = read_npz(path)
            about = json.loads(stored.pop("state").tobytes())
            arrays: dict[str, list[np.ndarray]] = {name: [] for name in about["lists"]}
            for name in sorted(stored, key=lambda name: int(name.rpartition("/")[2])):
                arrays[name.rpartition("/")[0]].append(stored[name])
        except _DAMAGE as error:
            message = f"it cannot be read ({type(error).__name__})"
            raise ValueError(message) from error
        state = {_FORMER_NAMES.get(name, name): value for name, value in about["state"].items()}
        if about["version"] != _VERSION or set(state) != {f.name for f in fields(TrainingState)}:
            message = "another version of featurebank wrote it"
            raise ValueError(message)
        return cls(TrainingState(**state), arrays)

    def save(self, path: Path) -> None:
        """Writes the file atomically.

        Raises:
            DiskFullError: no space is left; an older checkpoint is not changed.
        """
        about = {"version": _VERSION, "state": asdict(self.state), "lists": list(self.arrays)}
        columns: dict[str, Any] = {
            f"{name}/{place}": array for name, arrays in self.arrays.items() for place, array in enumerate(arrays)
        }
        with atomic_path(path) as temporary:
            with temporary.open("wb") as file:
                np.savez(file, state=np.frombuffer(json.dumps(about).encode(), np.uint8), **columns)
            seal_archive(temporary)
