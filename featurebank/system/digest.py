"""Canonical digests of bytes, arrays, files and recipes.

A digest is BLAKE2b of 16 bytes (128 bits), written as 32 hexadecimal digits. Everywhere in featurebank, two objects
with the same digest are treated as equal. The caller lists what goes into a digest; a file's time, source code and
library versions never do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurebank.system.files import open_regular

if TYPE_CHECKING:
    import numpy as np

DIGEST_BYTES = 16
"""Length of a digest in bytes; its hexadecimal form has twice as many digits."""

_BLOCK = 1 << 20
_SMALL = 1 << 24


def of_bytes(data: bytes | memoryview) -> str:
    """Returns the digest of bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def of_pieces(pieces: Iterable[bytes | memoryview]) -> str:
    """Returns the digest of bytes that arrive in pieces."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for piece in pieces:
        state.update(piece)
    return state.hexdigest()


def of_array(array: np.ndarray) -> str:
    """Returns the digest of an array's dtype, shape and elements in C order.

    Raises:
        TypeError: the elements are Python objects; only their addresses could be hashed.
    """
    import numpy as np  # numpy alone takes 0.1 s, which `--help` need not pay

    if array.dtype.hasobject:
        message = f"an array of {array.dtype} has no digest: expected numbers or strings of fixed length"
        raise TypeError(message)

    return of_pieces([array_title(array), np.ascontiguousarray(array).data])


def array_title(array: np.ndarray) -> bytes:
    """Returns what precedes the elements in the digest of an array: its dtype and shape."""
    return f"{array.dtype.str}{array.shape}".encode()


def of_file(path: str | Path, most: int | None = None) -> str:
    """Returns the digest of a file's bytes; a large one is read in blocks.

    Args:
        path: the file.
        most: the largest size in bytes; None for no limit.

    Raises:
        OSError: the file cannot be read, is larger than `most`, or is not a regular file.
    """
    with open_regular(path, most) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _SMALL:
            return of_bytes(file.read(size))
        return of_pieces(iter(lambda: file.read(_BLOCK), b""))


def distinct(digests: np.ndarray) -> np.ndarray:
    """Returns the distinct ones of many digests, sorted: (n,) "S32" -> (m,) "S32".

    Example:
        >>> import numpy as np
        >>> distinct(np.array([b"b" * 32, b"a" * 32, b"b" * 32], "S32")).tolist() == [b"a" * 32, b"b" * 32]
        True
    """
    import numpy as np

    digests = np.ascontiguousarray(digests, "S32")
    ordered = digests
    if not (digests[1:] >= digests[:-1]).all():
        first, second = digests.view(">u8").reshape(-1, 4)[:, :2].T.astype(np.uint64)
        ordered = digests[np.lexsort((second, first))]  # numbers have the same order as strings, and are faster
    if not (ordered[1:] >= ordered[:-1]).all():  # some have the same first half
        return np.unique(digests)
    return np.asarray(ordered[np.append(np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1])])


def canonical_json(value: Any) -> str:
    """Returns the canonical JSON text of a value: sorted keys, no spaces, no NaN.

    Raises:
        TypeError: the value holds a type that JSON cannot express.
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def of_recipe(recipe: Any) -> str:
    """Returns the digest of a value made of dicts, lists, strings, numbers, booleans and None.

    The order of a dict's keys does not matter; every other difference does.
    """
    return of_bytes(canonical_json(recipe).encode())
