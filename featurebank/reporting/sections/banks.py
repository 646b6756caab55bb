"""Gathers the comparison of several banks: the best head of each side by side, and one leaderboard of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featurebank.metrics.gains import gain_over
from featurebank.reporting.content import ComparedBank, Comparison, Conclusion
from featurebank.reporting.evidence import Evidence
from featurebank.reporting.sections.axes import right_shares
from featurebank.reporting.sections.board import name_of
from featurebank.reporting.sections.savings import extraction_seconds
from featurebank.reporting.sections.together import gather_together
from featurebank.reporting.sections.wording_data import compared
from featurebank.runs.comparison import Entry

MOST_SEEDS = 0.5
"""A head with several seeds is right on an image if at least this share of them is."""


def gather_comparison(banks: Sequence[Evidence]) -> Comparison | None:
    """Returns several banks side by side, the best first; None unless two of them have a best head."""
    ranked = sorted((one for one in banks if one.best), key=lambda one: -one.best.mean if one.best else 0.0)
    if len(ranked) < 2:  # noqa: PLR2004 - something to compare
        return None
    rows = [_row(one, one.best, banks.index(one)) for one in ranked if one.best]
    times = {one.bank.name: seconds for one in ranked if (seconds := extraction_seconds(one.bank)) is not None}
    faster = min(times, key=lambda name: times[name]) if len(times) == len(ranked) else ""
    first, second = ranked[:2]
    same = all(_same_images(first, other) for other in ranked[1:])
    gain, interval = _gain(first, second) if same else (None, None)
    sentence = compared(first.bank.name, second.bank.name, gain, interval, faster=faster, same_images=same)
    return Comparison(Conclusion("The banks side by side", sentence), rows, gather_together(banks))


def _row(evidence: Evidence, best: Entry, place: int) -> ComparedBank:
    bank = evidence.bank
    size = sum(bank.tap_bytes(tap) for tap in bank.taps)
    return ComparedBank(
        bank.name, str(bank.manifest.dataset["name"]), str(bank.recipe["backbone"]), best.spec.tap, name_of(best),
        best.mean, best.interval, extraction_seconds(bank), size / max(1, len(bank)), place,
    )  # fmt: skip


def _same_images(one: Evidence, other: Evidence) -> bool:
    """Returns whether two banks were validated on the same images with the same labels, under the same protocol."""
    return one.folds == other.folds == 1 and np.array_equal(_validated(one), _validated(other))


def _validated(evidence: Evidence) -> np.ndarray:
    bank = evidence.bank
    return np.array(sorted(zip(bank.digests("val").tolist(), bank.labels("val").tolist(), strict=True)), dtype=object)


def _gain(first: Evidence, second: Evidence) -> tuple[float, tuple[float, float] | None]:
    """Returns by how much one best head is better than another, and the interval of a paired comparison."""
    assert first.best is not None
    assert second.best is not None
    difference = first.best.mean - second.best.mean
    answers = _sorted_answers(first), _sorted_answers(second)
    if answers[0] is None or answers[1] is None or len(answers[0]) != len(answers[1]):
        return difference, None
    groups = first.bank.groups("val")
    order = np.argsort(first.bank.digests("val"), kind="stable")
    gain = gain_over(answers[1], answers[0], None if groups is None else groups[order])
    return difference, (gain.low, gain.high)


def _sorted_answers(evidence: Evidence) -> np.ndarray | None:
    """Returns whether the best head is right on each validation image, in the order of the images' contents."""
    shares = right_shares(evidence.best) if evidence.best else None
    return None if shares is None else shares[np.argsort(evidence.bank.digests("val"), kind="stable")] >= MOST_SEEDS
