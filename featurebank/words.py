"""Numbers and values as parts of sentences."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence

_LONGEST = 300
"""Largest number of characters of one problem."""
_PROBLEMS = 20
"""Largest number of problem lines that are shown at once."""
_BITS = 80
"""Bits of the largest whole number that is shown in full."""
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Returns a number and its noun.

    Args:
        count: how many.
        noun: the singular.
        plural: the plural; by default the noun with s, or with es after an s.

    Example:
        >>> counted(1, "run"), counted(12_500, "run"), counted(0, "class")
        ('1 run', '12500 runs', '0 classes')
    """
    return f"{count} {noun if count == 1 else plural or noun + ('es' if noun.endswith('s') else 's')}"


def duration(seconds: float) -> str:
    """Returns a duration in words.

    Example:
        >>> duration(0.003), duration(12.34), duration(600)
        ('less than 0.1 s', '12.3 s', '10 min')
    """
    if seconds < 0.1:  # noqa: PLR2004 - nobody waits for less
        return "less than 0.1 s"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - two minutes


def every(count: int, noun: str) -> str:
    """Returns "all" of a number of things in words.

    Example:
        >>> every(1, "run"), every(3, "run")
        ('the only run', 'all 3 runs')
    """
    return f"the only {noun}" if count == 1 else f"all {count} {noun}s"


def shown(value: object) -> str:
    """Formats a foreign value for a message, in one short line.

    Example:
        >>> shown(list(range(99)))
        '[0, 1, 2, 3, ...]'
    """
    text = _Short().repr(value)
    return text if text.isprintable() else ascii(text)


def one_line(text: object, most: int = _LONGEST) -> str:
    """Returns a text as one line without control characters; beyond `most` characters, the middle is left out.

    Example:
        >>> one_line("a number,   not 'x'")
        "a number, not 'x'"
    """
    line = " ".join(str(text).split())
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    half = most // 2 - 3
    return line if len(line) <= most else f"{line[:half]} ... {line[-half:]}"


def problem_lines(problems: Iterable[object], start: str = "") -> str:
    """Joins problems into the text of an error: one line each, repeated ones once.

    Args:
        problems: the problems, in order.
        start: prefix of each line, as "FILE: ".
    """
    lines = list(dict.fromkeys(f"{start}{one_line(problem)}" for problem in problems))
    if (more := len(lines) - _PROBLEMS) > 0:
        lines[_PROBLEMS:] = [f"and {counted(more, 'more problem')}"]
    return "\n".join(lines)


def percent(share: float) -> str:
    """Returns a share in percent, rounded so that only all of it is 100 % and only none of it 0 %.

    Example:
        >>> percent(0.9403), percent(1.0), percent(0.9999)
        ('94.0 %', '100 %', '99.9 %')
    """
    if share in {0.0, 1.0}:
        return f"{100 * share:.0f} %"
    return f"{min(99.9, max(0.1, 100 * share)):.1f} %"


def points(difference: float) -> str:
    """Returns a difference of shares in percentage points.

    Example:
        >>> points(0.0421), points(-0.01)
        ('4.2 points', '1.0 point')
    """
    value = f"{abs(100 * difference):.1f}"
    return f"{value} {'point' if value == '1.0' else 'points'}"


def between(interval: tuple[float, float]) -> str:
    """Returns an interval of shares in percent.

    Example:
        >>> between((0.856, 0.977))
        '85.6 to 97.7 %'
    """
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def names(items: Sequence[str], most: int = 4) -> str:
    """Returns names as a part of a sentence.

    Example:
        >>> names(["a"]), names(["a", "b", "c"]), names(list("abcdefg"))
        ('a', 'a, b and c', 'a, b, c, d and 3 more')
    """
    if len(items) <= 1:
        return "".join(items)
    shown = list(items[:most])
    last = f"{len(items) - most} more" if len(items) > most else shown.pop()
    return f"{', '.join(shown)} and {last}"


class _Short(reprlib.Repr):
    """Shortens nested or long values without reading all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict, self.maxtuple = 2, 4, 3, 4
        self.maxstring = self.maxother = 60

    def repr_int(self, x: int, level: int) -> str:
        """Returns a number, or the number of digits of a huge one, which Python refuses to print."""
        return repr(x) if x.bit_length() <= _BITS else f"a number of about {int(x.bit_length() * 0.30103):.0f} digits"


def described_arguments(docstring: str) -> Iterator[tuple[str, str]]:
    """Yields the name and the meaning of each entry under "Args:" of a docstring.

    Example:
        >>> dict(described_arguments(counted.__doc__))["noun"]
        'the singular.'
    """
    from inspect import cleandoc

    _, begins, rest = cleandoc(docstring).partition("\nArgs:\n")
    names, meaning = "", ""
    for line in rest.split("\n") if begins else ():
        if line and not line.startswith("    "):
            break
        entry = _ENTRY.match(line)
        if entry:
            yield from ((name, meaning) for name in names.split(", ") if name)
            names, meaning = entry[1], entry[2]
        elif line.strip():
            meaning = f"{meaning} {line.strip()}"
    yield from ((name, meaning) for name in names.split(", ") if name)
