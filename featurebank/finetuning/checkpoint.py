"""Checkpoints: everything that a fine-tune goes on from, in one file that is whole or not there."""

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
from featurebank.system.files import atomic_path
from featurebank.system.sealed_json import is_whole_archive, seal_archive

_VERSION = 1

_EXPLODED = 10.0
"""How many times the first loss is too much, if it is also worse than guessing."""
_SMOOTHING = 0.2

_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile)
"""What zipfile, numpy and json raise on damaged bytes."""

Arrays = Mapping[str, Sequence[np.ndarray]]
"""Named lists of arrays."""


@dataclass
class TrainingState:
    """Where a fine-tune stands; with the weights beside it in a checkpoint, all that it depends on."""

    phase: int = 0
    """Counted from 0; as many as there are phases where all are done."""
    epoch: int = 1
    """Of the phase, the one that is running."""
    step: int = 0
    """Done in this epoch."""
    number: int = 0
    """Of the optimizer's steps since it began anew."""
    taken: int = 0
    """Steps of all phases, those of epochs that exploded among them."""
    total: float = 0.0
    """Sum of the losses of this epoch's images."""
    right: float = 0.0
    """How many of this epoch's images were judged right, each before the step that it was part of."""
    seen: int = 0
    """Images of this epoch so far."""
    rate: float = 1.0
    """What explosions made of the learning rate, as a share of it."""
    plateau_rate: float = 1.0
    """What the plateau made of it."""
    first: float | None = None
    """Loss of the phase's first steps."""
    smooth: float | None = None
    """Moving mean of the loss."""
    retried: bool = False
    """Whether an explosion of this phase was answered already."""
    ended: bool = False
    """Whether the phase has no further epoch."""
    stopping: dict[str, Any] = field(default_factory=dict)
    plateau: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    """epoch (of all phases, 0 is the head), value, accuracy and loss."""
    history: dict[str, list[Any]] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    """What came of the phases that are done."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def add_step(self, loss: float, right: float, images: int) -> None:
        """Counts a step: its mean loss, and how many of its images were judged right."""
        self.number, self.taken, self.step = self.number + 1, self.taken + 1, self.step + 1
        self.total, self.right, self.seen = self.total + loss * images, self.right + right, self.seen + images

    def explodes(self, loss: float, classes: int) -> bool:
        """Returns whether the loss, smoothed with this one, is no number, or far above the first and that of guessing.

        Args:
            loss: of the last step.
            classes: how many there are to guess from.
        """
        if self.first is None or self.smooth is None:
            self.first = self.smooth = loss
        self.smooth += _SMOOTHING * (loss - self.smooth)
        return not self.smooth <= max(_EXPLODED * self.first, math.log(classes))  # true of NaN

    def forget_epoch(self) -> None:
        """Goes back to the beginning of an epoch."""
        self.step, self.total, self.right, self.seen = 0, 0.0, 0.0, 0


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds."""

    state: TrainingState
    arrays: dict[str, list[np.ndarray]]

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Reads a checkpoint; None where there is none.

        Raises:
            ValueError: it is damaged, or of another version.
        """
        if not path.is_file():
            return None
        try:
            if is_whole_archive(path) is False:
                message = "its checksum is another"
                raise ValueError(message)
            stored = read_npz(path)
            about = json.loads(stored.pop("state").tobytes())
            arrays: dict[str, list[np.ndarray]] = {name: [] for name in about["lists"]}
            for name in sorted(stored, key=lambda name: int(name.rpartition("/")[2])):
                arrays[name.rpartition("/")[0]].append(stored[name])
        except _DAMAGE as error:
            message = f"it cannot be read ({type(error).__name__})"
            raise ValueError(message) from error
        if about["version"] != _VERSION or set(about["state"]) != {f.name for f in fields(TrainingState)}:
            message = "another version of featurebank wrote it"
            raise ValueError(message)
        return cls(TrainingState(**about["state"]), arrays)

    def save(self, path: Path) -> None:
        """Writes the file atomically.

        Raises:
            DiskFullError: no space is left; an older checkpoint stays.
        """
        about = {"version": _VERSION, "state": asdict(self.state), "lists": list(self.arrays)}
        columns: dict[str, Any] = {
            f"{name}/{place}": array for name, arrays in self.arrays.items() for place, array in enumerate(arrays)
        }
        with atomic_path(path) as temporary:
            with temporary.open("wb") as file:
                np.savez(file, state=np.frombuffer(json.dumps(about).encode(), np.uint8), **columns)
            seal_archive(temporary)
