"""The split of each image, decided only by its content, so that nothing else can move it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.errors import ConfigError

SPLITS = ("train", "val", "test")
"""The names of the splits; a split's code is its index here."""

DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)

TRAIN, VAL, TEST, UNLABELLED_CODE = range(4)
"""The codes of the splits, and that of images without a label, which are in no split."""
UNLABELLED = "unlabelled"
"""What stands in the place of the split, and of the class, of an image without a label."""
NO_LABEL = -1
"""The label of an image without one."""
SPLIT_NAMES = (*SPLITS, UNLABELLED)
"""What the code of an image's split means."""
UNDECIDED = -1

_TOLERANCE = 1e-6
_BLOCK = 1 << 16


def check_fractions(split: Sequence[float] | None) -> tuple[float, float, float]:
    """Checks the fractions of the splits.

    Args:
        split: (train, val, test), or (train, val) for no test images; None for the default.

    Returns:
        Three fractions that sum to 1.

    Raises:
        ConfigError: there are not two or three fractions, one is not a number or negative, train is 0, or the sum is
            not 1.
    """
    if split is None:
        return DEFAULT_FRACTIONS
    try:
        parts = [float(part) for part in split]
    except (TypeError, ValueError):
        parts = []
    problem = ""
    if isinstance(split, str) or len(parts) not in {2, 3}:
        problem = "expected two or three numbers"
    elif not all(math.isfinite(part) and part >= 0 for part in parts):
        problem = "expected no fraction below 0"
    elif parts[0] == 0:
        problem = "expected some images for training"
    elif abs(sum(parts) - 1) > _TOLERANCE:
        problem = f"they sum to {sum(parts):g}, expected 1"
    if problem:
        message = f"split is {split!r}: {problem}; use (train, val, test), as (0.7, 0.15, 0.15)"
        raise ConfigError(message)
    train, val, test = [part / sum(parts) for part in [*parts, 0.0][:3]]
    return train, val, test


def uniform(digests: np.ndarray, seed: int) -> np.ndarray:
    """Maps each content digest to a pseudo-random number, uniform in [0, 1).

    The number depends only on the digest and the seed; it is the same on every machine and in every version.

    Args:
        digests: (n,) content digests of dtype "S32".
        seed: any whole number.

    Returns:
        (n,) float64.
    """
    key = hashlib.blake2b(str(seed).encode(), digest_size=32).digest()
    keyed = hashlib.blake2b(key=key, digest_size=8, person=b"featurebank.1")
    numbers = np.empty(len(digests), np.float64)
    for start in range(0, len(digests), _BLOCK):  # ten million bytes objects at once would take a gigabyte
        block = digests[start : start + _BLOCK].tolist()
        words = np.frombuffer(b"".join(_hashed(keyed, digest) for digest in block), "<u8")
        numbers[start : start + len(block)] = (words >> np.uint64(11)) * 2.0**-53
    return numbers


def assign(
    digests: np.ndarray, predefined: np.ndarray | None, fractions: tuple[float, float, float], seed: int
) -> np.ndarray:
    """Decides the split of each image.

    The split of an undecided image is the interval of the cumulated fractions that holds the `uniform` number of its
    content. So adding, removing, renaming or reordering images never moves another image, and images with the same
    content share a split. The thresholds are the same for all classes, so each class has the same *expected* share of
    each split. An exactly stratified split cannot have these properties: with exact counts per class, one more image
    has to move another.

    Given splits stay, whatever the digests are. If train and test are given but not val, val is taken from train with
    the probability val / (train + val). If train and val are given but not test, there is no test.

    Args:
        digests: (n,) content digests of dtype "S32"; b"" (unreadable) counts as one content.
        predefined: (n,) int8 codes of `SPLITS`, or -1 for undecided; None if all are undecided.
        fractions: (train, val, test), summing to 1.
        seed: the seed of the undecided images' splits.

    Returns:
        (n,) uint8 codes of `SPLITS`.

    Example:
        >>> digests = np.array([b"%032x" % number for number in range(1000)])
        >>> np.bincount(assign(digests, None, (0.7, 0.15, 0.15), seed=0)).tolist()
        [689, 160, 151]
    """
    if predefined is None:
        predefined = np.full(len(digests), UNDECIDED, np.int8)
    codes = predefined.astype(np.uint8)  # -1 becomes 255, and is overwritten below
    open_ = predefined == UNDECIDED
    codes[open_] = _place(uniform(digests[open_], seed), fractions)
    present = set(np.unique(predefined).tolist()) - {UNDECIDED}
    if present == {TRAIN, TEST}:
        train, val, _ = fractions
        carved = predefined == TRAIN
        codes[carved] = _place(uniform(digests[carved], seed), (train / (train + val), val / (train + val), 0.0))
    return codes


def predefined_splits(codes: Sequence[int], labels: Sequence[int] | np.ndarray) -> np.ndarray | None:
    """Returns the splits that a dataset gives its images: (n,) int8 codes, -1 for those whose content decides.

    Args:
        codes: (n,) codes of `SPLITS`, or -1.
        labels: (n,) labels; an image without one is in no split, whatever its code.

    Returns:
        The codes; None if nothing is held out, so that the content decides for all images.
    """
    labelled = np.asarray(labels) >= 0
    own = np.where(labelled, np.asarray(codes, np.int8), np.int8(UNDECIDED))
    return None if set(np.unique(own[labelled]).tolist()) in ({UNDECIDED}, {TRAIN}, set()) else own


def _hashed(keyed: Any, digest: bytes) -> bytes:
    state = keyed.copy()  # cheaper than a new keyed hash for every image
    state.update(digest)
    return bytes(state.digest())


def _place(numbers: np.ndarray, fractions: tuple[float, float, float]) -> np.ndarray:
    train, val, test = fractions
    # A bound that is 1 except for rounding must not put a rare image into a split of fraction 0.
    last = train + val if test > 0 else math.inf
    first = train if val > 0 else last
    return (numbers >= first).astype(np.uint8) + (numbers >= last).astype(np.uint8)
