"""The weights of images, from the column `weight` of a table: how much each image counts in the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from featurebank.dataset.sources.rows import Problems
from featurebank.words import counted

WEIGHT = "weight"
"""The role of the column of a table; in a bank, the name of the column of its metadata that has this role."""

_REMEDY = "correct them, or rename the column if it holds something else"


def read_weights(
    column: Sequence[str] | np.ndarray, name: str, place: Callable[[int], str], problems: Problems
) -> np.ndarray:
    """Reads the weights of the images of a table: (n,) float64.

    Args:
        column: (n,) texts or numbers.
        name: the name of the column, for messages.
        place: returns the location of a row, as "line 7".
        problems: receives each value that is not a finite number of 0 or more; and it is a problem if all are 0.
    """
    known = {value: _weight(value) for value in set(column.tolist() if isinstance(column, np.ndarray) else column)}
    weights = np.array([known[value] for value in (column.tolist() if isinstance(column, np.ndarray) else column)])
    wrong = np.flatnonzero(np.isnan(weights)).tolist()
    for number, row in enumerate(wrong):
        shown = str(column[row]).strip()
        what = f"'{shown}'" if shown not in {"", "nan"} else "empty"
        remedy = "" if number else f": {_REMEDY}"
        problems.add(f"{place(row)}: the weight (column '{name}') is {what}, expected a number of 0 or more{remedy}")
    if len(weights) and not wrong and not weights.any():
        problems.add(f"all weights in the column '{name}' are 0: expected a weight above 0 for some images")
    return weights.astype(np.float64)


def _weight(value: object) -> float:
    """Returns a weight; NaN for a value that is none."""
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) and number >= 0 and not isinstance(value, bool) else math.nan


def describe_weights(weights: np.ndarray, column: str) -> str:
    """Returns one line about the weights of training images.

    Args:
        weights: (n,) numbers of 0 or more.
        column: the name of their column.

    Example:
        >>> describe_weights(np.array([0.5, 4, 0, 1]), "weight")
        "training images are weighted by the column 'weight', from 0.5 to 4; 1 image of weight 0 is left out"
    """
    used = weights[weights > 0]
    if not len(used):
        return f"all training images have the weight 0 in the column '{column}'"
    low, high = used.min(), used.max()
    shown = f"from {low:g} to {high:g}" if low < high else f"each by {low:g}"
    line = f"training images are weighted by the column '{column}', {shown}"
    zero = len(weights) - len(used)
    if zero:
        line += f"; {counted(zero, 'image')} of weight 0 {'is' if zero == 1 else 'are'} left out"
    return line
