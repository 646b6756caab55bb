"""How far the doubts of a run can be relied on: sets of classes and abstention, measured on its validation or test
images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from featurebank.bank import Bank
from featurebank.certainty.measured import COVERAGES, ERRORS, MeasuredCertainty, crossfitted, measured
from featurebank.certainty.record import Certainty
from featurebank.charts.doubts import risk_coverage
from featurebank.errors import ConfigError

if TYPE_CHECKING:
    import altair as alt

LabelledAnswers = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions in `Bank.ids()` (n,), labels (n,) and probabilities (n, classes) of images."""


def groups_at(bank: Bank, positions: np.ndarray) -> np.ndarray | None:
    """Returns the group of each image, (n,); None if the bank has no groups."""
    groups = bank.groups()
    return None if groups is None else groups[positions]


def measured_on(
    bank: Bank, split: str, answers: Callable[[str], LabelledAnswers], *, coverages: Sequence[float] = COVERAGES,
    errors: Sequence[float] = ERRORS,
) -> MeasuredCertainty:  # fmt: skip
    """Measures sets of classes and abstention.

    Args:
        bank: the bank.
        split: "test" is measured with the calibration of the validation images, "val" by cross-fitting.
        answers: returns the predictions for a split.
        coverages: the coverages to ask for.
        errors: the errors to ask for.

    Raises:
        ConfigError: the split is another one, or has too few images.
    """
    if split not in {"val", "test"}:
        message = f"certainty is measured on images that the head was not trained on: expected val or test, got {split}"
        raise ConfigError(message)
    positions, labels, probabilities = answers("val")
    groups = groups_at(bank, positions)
    if split == "val":
        source = "by cross-fitting on validation images"
        return crossfitted(probabilities, labels, groups=groups, source=source, coverages=coverages, errors=errors)
    certainty = Certainty.of(probabilities, labels, groups=groups)
    positions, labels, probabilities = answers("test")
    return measured(
        certainty, probabilities, labels, groups=groups_at(bank, positions), source="of the test split",
        coverages=coverages, errors=errors,
    )  # fmt: skip


def plot_certainty(certainty: MeasuredCertainty, title: str = "") -> alt.LayerChart:
    """Returns the error among the answered images against the share answered, as a chart."""
    choices = [(one.target, one.share, one.error) for one in certainty.answers if one.error is not None]
    return risk_coverage(certainty.curve, choices, title=title)
