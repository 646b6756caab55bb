"""Predictions of models whose doubts are known."""

from __future__ import annotations

import numpy as np


def simulated(random: np.random.Generator, count: int, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels of a model that orders classes rightly, and is too sure of all of them."""
    true = random.dirichlet(np.full(classes, 0.4), count)
    labels = (true.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    sharp = true**3
    return sharp / sharp.sum(axis=1, keepdims=True), labels
