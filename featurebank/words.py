"""Numbers and values in sentences."""

from __future__ import annotations

import reprlib

_BITS = 80
"""Of the largest whole number that is shown."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun.

    Args:
        count: how many.
        noun: in the singular.
        plural: default: the noun with an s.

    Example:
        >>> counted(1, "run"), counted(12_500, "run"), counted(0, "class", "classes")
        ('1 run', '12500 runs', '0 classes')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def shown(value: object) -> str:
    """Returns a value from outside as a message has it: in one short line.

    Example:
        >>> shown(list(range(99)))
        '[0, 1, 2, 3, ...]'
    """
    text = _Short().repr(value)
    return text if text.isprintable() else ascii(text)


class _Short(reprlib.Repr):
    """Shortens what is nested or long, without looking at all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict, self.maxtuple = 2, 4, 3, 4
        self.maxstring = self.maxother = 60

    def repr_int(self, x: int, level: int) -> str:
        """Returns a number; of a huge one, which Python refuses to print, its size."""
        return repr(x) if x.bit_length() <= _BITS else f"a number of about {int(x.bit_length() * 0.30103):.0f} digits"
