"""Names of classes: their order, nearly equal names, and labels that are measurements rather than classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from featurebank.words import counted

_WHOLE = re.compile(r"-?[0-9]+")
_FEW_IMAGES = 3
_MANY_CLASSES = 10
_FRACTIONS = 3


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct names in the order of all kinds of datasets: numerical if all are whole numbers.

    Example:
        >>> in_order(["10", "9", "9"]), in_order(["10", "9", "a"])
        (('9', '10'), ('10', '9', 'a'))
    """
    distinct = set(names)
    if all(_WHOLE.fullmatch(name) for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def look_alikes(classes: Sequence[str]) -> Iterator[str]:
    """Yields a line for each two classes whose names differ only in blanks, case or Unicode form."""
    first: dict[str, str] = {}
    for name in classes:
        plain = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        other = first.setdefault(unicodedata.normalize("NFKC", plain), name)
        if other != name:
            yield (
                f"classes {_quoted(other)} and {_quoted(name)} differ only in {_difference(other, name)}: "
                "if they are the same class, rename one of them"
            )


def on_a_scale(classes: Sequence[str], totals: np.ndarray) -> Iterator[str]:
    """Yields a line if labels look like measurements (scores, ages): numbers with fractions, or rarely repeated.

    Args:
        classes: the names.
        totals: (classes,) number of images of each class.
    """
    try:
        values = [float(name.replace(",", ".")) for name in classes]
    except ValueError:
        return
    fractions = sum(value % 1 != 0 for value in values if np.isfinite(value))
    gaps = max(values) - min(values) + 1 != len(classes)  # class numbers are consecutive
    scarce = gaps and len(classes) >= _MANY_CLASSES and np.median(totals) <= _FEW_IMAGES
    if fractions >= _FRACTIONS or scarce:
        yield (
            f"the labels look like numbers on a scale, from {min(values):g} to {max(values):g}, and became "
            f"{counted(len(classes), 'class')}: heads predict classes, not numbers; put the numbers into a few ranges"
        )


def _difference(one: str, other: str) -> str:
    if unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other):
        return "Unicode form"
    if "".join(one.split()) == "".join(other.split()):
        return "blanks"
    return "capitals" if one.casefold() == other.casefold() else "blanks, capitals or Unicode form"


def _quoted(name: str) -> str:
    """Quotes a name; one that is not in composed Unicode form is escaped, because both forms look alike."""
    return f"'{name}'" if unicodedata.is_normalized("NFC", name) else ascii(name)
