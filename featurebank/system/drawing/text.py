r"""Text that a person sees: control characters are escaped.

Class and file names come from other people. A terminal executes escape sequences, and invisible characters or changes
of direction make one name look like another. Such characters are shown as Python escapes, such as `\x1b`.
"""

from __future__ import annotations

import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: control, format (text direction, zero width), surrogate, line and paragraph separators."""


def printable(text: str) -> str:
    r"""Returns a text on one line; characters that a terminal would not show as themselves are escaped.

    >>> printable("ant\x1b[2J\n")
    'ant\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(_escaped(sign) if unicodedata.category(sign) in HIDDEN else sign for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
