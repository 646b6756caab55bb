"""Classifiers for other processes, which write down each fit, wait for a file, or end their process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.neighbors import NearestCentroid


class Noted(NearestCentroid):
    """Adds a line with its number and process to a log, then waits until a file exists."""

    def __init__(self, log: str = "", number: int = 0, go: str = "") -> None:
        super().__init__()
        self.log = log
        self.number = number
        self.go = go

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        with Path(self.log).open("a") as file:
            file.write(f"{self.number} {os.getpid()}\n")
        while self.go and not Path(self.go).exists():
            time.sleep(0.01)
        fitted: Any = super().fit(X, y)
        return fitted


class Deadly(NearestCentroid):
    """Ends the process that fits it."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def noted(log: Path) -> list[tuple[int, int]]:
    """Returns the number and the process of each fit."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(number), int(process)) for number, process in (line.split() for line in lines)]
