"""Converts further columns of a table from texts to arrays of the narrowest type that holds them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from featurebank.errors import DatasetError
from featurebank.words import counted

_MOST_BYTES = 1 << 30
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf|nan", re.IGNORECASE)
_CODE = re.compile(r"[+-]?0[0-9]")
_BOOLS = {text: value for value in (True, False) for text in (str(value), str(value).lower(), str(value).upper())}
_INT64 = range(-(2**63), 2**63)


def from_texts(texts: Sequence[str]) -> np.ndarray:
    """Converts a column of a text file to an array.

    Whole numbers become int64, other numbers float64, true and false bool, everything else str. A missing value, "",
    becomes nan among numbers, so that whole numbers become float64. Whole numbers that float64 cannot hold exactly stay
    texts, and so do numbers with leading zeros, which are codes.

    Raises:
        DatasetError: the array would need more than a gigabyte.
    """
    different = set(texts)
    filled = different - {""}
    if filled and different <= set(_BOOLS):
        return np.array([_BOOLS[text] for text in texts], np.bool_)
    if filled and all(map(_WHOLE.fullmatch, filled)):
        return _whole(texts, filled, missing="" in different)
    coded = any(map(_CODE.match, filled))
    if filled and not coded and all(map(_NUMBER.fullmatch, filled)):
        return np.array([float(text) if text else np.nan for text in texts], np.float64)
    return strings(texts)


def strings(texts: Sequence[str]) -> np.ndarray:
    """Converts texts to an array.

    Raises:
        DatasetError: the array would need more than a gigabyte, because the longest text determines the item size.
    """
    longest = max(map(len, texts), default=0)
    if 4 * longest * len(texts) > _MOST_BYTES:
        message = f"texts of up to {longest} characters, too long for {counted(len(texts), 'row')}"
        raise DatasetError(message)
    return np.array(texts, np.str_)


def _whole(texts: Sequence[str], filled: set[str], *, missing: bool) -> np.ndarray:
    values = [int(text) for text in filled if len(text) <= 20]  # noqa: PLR2004 - the length of the smallest int64
    exact = 2**53 if missing else 2**63
    if len(values) < len(filled) or not all(value in _INT64 and abs(value) <= exact for value in values):
        return strings(texts)
    if missing:
        return np.array([float(text) if text else np.nan for text in texts], np.float64)
    return np.array([int(text) for text in texts], np.int64)
