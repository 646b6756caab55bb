"""Checks of parameters, reported all at once."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from featurebank.errors import HeadInputError

LARGEST = 2**31 - 1
"""Largest whole number that the libraries accept."""
_SHOWN = 60
"""Largest number of characters of a value in a message."""


class ParameterCheck(NamedTuple):
    """One checked parameter: its name, its value, which values are valid, in words, and whether this one is."""

    name: str
    value: Any
    expected: str
    holds: bool
    schema: Mapping[str, Any] = {}
    """The JSON Schema that all valid values fulfil; {} allows any value."""


def number(
    name: str, value: Any, *, above: float | None = None, below: float = np.inf, most: float | None = None
) -> ParameterCheck:
    """Checks for a number of at least 0 (or above `above`), below `below`, and at most `most`."""
    holds = False
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        with contextlib.suppress(OverflowError):  # the whole number is too large for a float
            holds = float(value) < below and (float(value) >= 0 if above is None else float(value) > above)
    least = "a number of 0 or more" if above is None else f"a number above {above:g}"
    expected = least if below == np.inf else f"a number from 0 to below {below:g}"
    if most is not None:
        expected, holds = f"{least}, and {most:g} at most", holds and float(value) <= most
    lowest = {"minimum": 0} if above is None else {"exclusiveMinimum": above}
    highest = {} if below == np.inf else {"exclusiveMaximum": below}
    highest |= {} if most is None else {"maximum": most}
    return ParameterCheck(name, value, expected, holds, {"type": "number", **lowest, **highest})


def count(name: str, value: Any, *, least: int = 1) -> ParameterCheck:
    """Checks for a whole number of at least `least`, within the range that libraries accept."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least
    schema = {"type": "integer", "minimum": least}
    if whole and int(value) > LARGEST:
        return ParameterCheck(name, value, f"a whole number from {least} to {LARGEST}", False, schema)  # noqa: FBT003
    return ParameterCheck(name, value, f"a whole number of {least} or more", whole, schema)


def choice(name: str, value: Any, choices: Collection[Any]) -> ParameterCheck:
    """Checks for one of several values."""
    expected = ", ".join(str(c).lower() if isinstance(c, bool | None) else str(c) for c in choices)
    holds = any(value is c or (isinstance(value, str) and value == c) for c in choices)
    return ParameterCheck(name, value, expected, holds, {"enum": [one for one in choices if one is not None]})


def switch(name: str, value: Any) -> ParameterCheck:
    """Checks for true or false."""
    return ParameterCheck(name, value, "true or false", isinstance(value, bool | np.bool_), {"type": "boolean"})


def widths(name: str, value: Any) -> ParameterCheck:
    """Checks for the width of a layer, or a list of widths."""
    sizes = list(value) if isinstance(value, list | tuple) else [value]
    one = count(name, 1).schema
    schema = {"anyOf": [one, {"type": "array", "items": one}]}
    holds = all(count(name, size).holds for size in sizes)
    return ParameterCheck(name, value, "whole numbers of 1 or more", holds, schema)


def listed(value: Any) -> list[int]:
    """Returns the widths as a list; `widths` has checked them."""
    return [int(width) for width in value] if isinstance(value, list | tuple) else [int(value)]


def optional(check: ParameterCheck) -> ParameterCheck:
    """Allows None, too."""
    return check._replace(holds=True) if check.value is None else check


def refuse(owner: str, checks: Iterable[ParameterCheck]) -> None:
    """Raises HeadInputError with all invalid parameters."""
    wrong = [f"{c.name} is {shown(c.value)}, expected {c.expected}" for c in checks if not c.holds]
    if wrong:
        raise HeadInputError(f"{owner}: " + "; ".join(wrong))


def shown(value: Any) -> str:
    """Returns the `repr` of a value, shortened."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print whole numbers of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
