"""Probabilities of a head for features that stay in the bank, computed block by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.errors import RamLimitError
from featurebank.heads.streamed.passes import Passes
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.system.runtime import ram_limit, tidy_bytes
from featurebank.words import counted

_COPIES = 4
"""The number of arrays of the size of the probabilities that exist at the same time."""


def probabilities(head: Any, X: Any, *, remedy: str = "increase --ram") -> np.ndarray:
    """Returns what `head.predict_proba` returns, (n, classes), also for features that stay in the bank.

    Args:
        head: the fitted head.
        X: (n, ...) features.
        remedy: what to do if memory does not suffice, as the end of a message.

    Raises:
        RamLimitError: all probabilities together do not fit into memory.
    """
    if not isinstance(X, StoredVectors) or not len(X):
        return np.asarray(head.predict_proba(X))
    classes, parts = len(head.classes_), list[np.ndarray]()
    if (needed := _COPIES * 8 * len(X) * classes) > ram_limit():
        message = (
            f"the probabilities of {counted(len(X), 'image')} in {counted(classes, 'class')} need {tidy_bytes(needed)} "
            f"with their copies, and --ram allows {tidy_bytes(ram_limit())}: {remedy}"
        )
        raise RamLimitError(message)
    Passes(X).run(lambda block: head.predict_proba(block.X), parts.append, what="predicting", width=4 * classes)
    return np.concatenate(parts)
