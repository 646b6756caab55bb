"""Whether a command prints what a page shows, on whatever processor it runs."""

from __future__ import annotations

import doctest
import re

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LEEWAY = 0.05
"""By how much a measured figure may differ: one validation photo of a page is as much."""
FIGURE = re.compile(
    r"(?:(?<=^)|(?<=^ )|(?<=  )|(?<=± )|(?<=\d-)|(?<=,)|(?<=accuracy ))[01]\.\d\d+(?![\d.])|\d+\.\d%", re.MULTILINE
)
"""A measured figure: from 0 to 1 with two decimals or more in a column, an interval or a table, or a percentage.

A value of a parameter is none, such as `C=0.01` or `above 0.98`.
"""
MARK = "\0"


def comparable(text: str) -> str:
    """Returns an output in which each figure of time, each rate and the digests of banks and runs are the same.

    So a page can show those that its writer saw; a last column `seconds` holds figures of time.
    """
    text = re.sub(r"(?<=-)[0-9a-f]{6}(?=-\w)|\b(?=[a-f]*\d)[0-9a-f]{10}\b", "#", text)
    text = re.sub(r"\d[\d,]*(\.\d+)? (s|ms|min|h|images/s|heads/s)\b", r"# \2", text)
    header = re.search(r"^.*\bseconds *$", text, re.MULTILINE)
    if not header:
        return text
    return text[: header.end()] + re.sub(r"\d[\d,]*\.\d+ *$", "#", text[header.end() :], flags=re.MULTILINE)


def agrees(shown: str, printed: str) -> bool:
    """Returns whether a page shows this output; `...` stands for any text.

    Another processor rounds otherwise, so measured figures may differ by `LEEWAY`, or by five points of a percentage.
    All other text, and each number that is no measured figure, must be the same.
    """
    shown, printed = comparable(shown), comparable(printed)
    if doctest.OutputChecker().check_output(shown, printed, FLAGS):
        return True
    marked = " ".join(FIGURE.sub(rf"{MARK}\g<0>{MARK}", shown).split())
    first, *parts = map(_pattern, marked.split("..."))
    last = f".*{parts.pop()}" if parts else ""
    pattern = first + "".join(f"(?>.*?{part})" for part in parts) + last  # the first place counts, as in doctest
    return re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL) is not None


def _pattern(part: str) -> str:
    """Returns the regular expression of a text in which figures stand between marks."""
    pieces = part.split(MARK)
    return "".join(_near(piece) if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))


def _near(figure: str) -> str:
    """Returns the regular expression of all figures, with as many decimals, that are near enough to this one."""
    number, percent = figure.removesuffix("%"), figure[len(figure.removesuffix("%")) :]
    decimals = len(number.partition(".")[2])
    one = (100 if percent else 1) * 10**decimals  # in units of the last decimal
    middle, leeway = round(float(number) * 10**decimals), round(LEEWAY * one)
    near = range(max(0, middle - leeway), min(one, middle + leeway) + 1)
    return f"(?:{'|'.join(re.escape(f'{value / 10**decimals:.{decimals}f}') for value in near)}){percent}"
