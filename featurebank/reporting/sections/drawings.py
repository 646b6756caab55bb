"""The charts of a report: what the sections know, as the plain values that `featurebank.charts` draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.reporting.content import BoardRow


def by_cost(rows: Sequence[BoardRow]) -> list[tuple[str, Any]]:
    """Draws the accuracy of all heads against their seconds, and against their parameters where these are known."""
    return []


def axis_effect(name: str, values: Sequence[tuple[str, Sequence[float]]]) -> Any:
    """Draws the accuracies of the heads with each value of one axis."""
    return None


def reliability(confidence: np.ndarray, right: np.ndarray) -> Any:
    """Draws how often predictions are right, by their probability."""
    return None


def image_maps(
    features: np.ndarray, ids: Sequence[str], labels: np.ndarray, classes: Sequence[str], predicted: np.ndarray | None
) -> list[tuple[str, Any]]:
    """Draws the projections of images to the plane; mistakes are marked where there are predictions."""
    return []
