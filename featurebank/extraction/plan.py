"""Deciding what is to be computed, from what there is and what is wanted alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featurebank.bank.index import contained


@dataclass(frozen=True)
class ExtractionJob:
    """Some taps of some images in one view, to be computed for one bank."""

    bank: int
    """Which one, among those that are extracted together."""
    taps: tuple[str, ...]
    view: int
    digests: np.ndarray
    """(n,) "S32", sorted."""


def missing_taps(stored: Mapping[str, np.ndarray], wanted: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
    """Decides which images need which taps.

    Args:
        stored: for each tap the digests of the images whose row it has, (n,) "S32".
        wanted: the images that each tap should have, sorted and distinct.

    Returns:
        For each set of taps to compute in one pass, the images that lack just those, in order.
    """
    lacking = np.stack([~contained(wanted, digests) for digests in stored.values()], axis=1)
    groups: dict[tuple[str, ...], np.ndarray] = {}
    for pattern in np.unique(lacking, axis=0):
        if pattern.any():
            names = tuple(tap for tap, lacks in zip(stored, pattern, strict=True) if lacks)
            groups[names] = wanted[(lacking == pattern).all(axis=1)]
    return groups


def schedule(jobs: Sequence[ExtractionJob]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts the jobs in the order of the images, so that each image is decoded once for all of them.

    Returns:
        The distinct digests (m,) "S32", sorted; the numbers of the jobs (n,), those of the first digest first; and
        where the jobs of each digest begin and end among these, (m + 1,).
    """
    digests = np.concatenate([np.empty(0, "S32"), *(job.digests for job in jobs)])
    numbers = np.repeat(np.arange(len(jobs)), [len(job.digests) for job in jobs])
    distinct, which = np.unique(digests, return_inverse=True)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(distinct) + 1))
    return distinct, numbers[order], bounds
