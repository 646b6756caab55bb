"""Gathers the doubts about the data: likely label errors, and nearly equal images in different splits.

The labels of test images are never examined, because whoever corrects them would adapt the test to the features. Their
features are compared with those of other splits, as `featurebank inspect` does: a copy in two splits spoils the test.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from featurebank.advice.label_errors import LabelDoubts, doubtful_labels, most_images
from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in, vector_tap
from featurebank.dataset.splits import SPLITS, UNLABELLED
from featurebank.errors import BankError, HeadError
from featurebank.inspection.near_duplicates import NEAR, near_pairs
from featurebank.reporting.content import Conclusion, DataDoubts, LabelError, NearCopies
from featurebank.reporting.evidence import Evidence
from featurebank.reporting.sections.wording_data import doubts
from featurebank.system.runtime import ram_limit
from featurebank.words import counted, one_line, percent

SHOWN = 24
"""The maximum number of label errors, and of pairs, with pictures."""
LEAST_ACCURACY = 0.5
"""Below it, most doubts about labels would be mistakes of the features."""
MOST_PRODUCTS = 1 << 37
"""Limit of pairs x features that are compared, some seconds; of more images, a sample is compared."""


class _Copies(NamedTuple):
    """The pairs of nearly equal images in different splits."""

    shown: list[NearCopies]
    """The most similar ones."""
    total: int | None
    """The number of all; None if they were not searched."""
    compared: int
    capped: bool
    """Whether there may be more."""


def gather_doubts(evidence: Evidence) -> DataDoubts | None:
    """Returns the doubts about the images of a bank; None if it has no tap of vectors."""
    if evidence.tap is None:
        return None
    notes: list[str] = []
    with evidence.reporter.step("looking for wrong labels"):
        labels, examined = _labels(evidence, notes)
    copies = _copies(evidence, notes)
    sentence = doubts(
        None if labels is None else len(labels.rows), examined, copies.total, compared=copies.compared,
        capped=copies.capped,
    )  # fmt: skip
    return DataDoubts(Conclusion("Doubts about the data", sentence), _errors(evidence, labels), copies.shown, notes)


def _labels(evidence: Evidence, notes: list[str]) -> tuple[LabelDoubts | None, int]:
    """Returns the doubtful labels, with positions in the bank as rows, and the number of examined images."""
    bank, tap = evidence.bank, evidence.tap
    assert tap is not None
    positions = positions_in(bank, "train", "val")
    most = min(most_images(bank.tap_shape(tap)[0], len(bank.classes)), _readable(bank, tap))
    sample = sampled(positions, most)
    if len(sample) < len(positions):
        notes.append(
            f"The labels of {counted(len(sample), 'image')} were examined, a random sample of {len(positions)}."
        )
    if len(bank.labels("test")):
        notes.append("The labels of test images were not examined: a test should not be adapted to what is tested.")
    labels = bank.labels()[sample]
    if len(np.unique(labels)) < 2:  # noqa: PLR2004 - a label can only be wrong if there is another
        notes.append("All examined images have the same label.")
        return None, 0
    try:
        groups = bank.groups()
        result = doubtful_labels(bank.rows(tap, sample), labels, None if groups is None else groups[sample])
    except (HeadError, BankError, ValueError) as error:
        notes.append(f"The labels could not be examined: {one_line(error)}")
        return None, 0
    if result.accuracy < LEAST_ACCURACY:
        notes.append(
            f"The labels were not doubted: from these features a head recognises only {percent(result.accuracy)} of "
            "the images, so that most doubts would be its own mistakes."
        )
        return None, 0
    notes.append(
        f"Labels are doubted by a head that recognises {percent(result.accuracy)} of the images without having been "
        "trained on them: the fewer it recognises, the more of its doubts are mistakes of its own."
    )
    places = sample[result.rows]
    return replace(result, rows=places), len(sample)


def _errors(evidence: Evidence, found: LabelDoubts | None) -> list[LabelError]:
    if found is None:
        return []
    classes, labels = evidence.bank.classes, evidence.bank.labels()
    return [
        LabelError(evidence.gallery.add(place), classes[labels[place]], classes[int(other)], float(score))
        for place, other, score in zip(
            found.rows[:SHOWN].tolist(), found.suggested[:SHOWN], found.scores[:SHOWN], strict=True
        )
    ]


def _readable(bank: Bank, tap: str) -> int:
    """Returns how many rows of a tap half of `--ram` holds."""
    return max(1, ram_limit() // 2 // (4 * math.prod(bank.tap_shape(tap))))


def _copies(evidence: Evidence, notes: list[str]) -> _Copies:
    """Returns the most similar pairs across splits, first those with exactly the same content."""
    bank, tap = evidence.bank, vector_tap(evidence.bank)  # the threshold was measured with "pooled"
    assert tap is not None
    splits, labelled = bank.splits(), positions_in(bank, *SPLITS)
    groups = np.unique(splits, return_inverse=True)[1]
    sizes = np.bincount(groups[labelled])
    if (sizes > 0).sum() < 2:  # noqa: PLR2004 - pairs of different splits
        return _Copies([], None, 0, capped=False)
    most = min(_comparable(sizes[sizes > 0], bank.tap_shape(tap)[0]), _readable(bank, tap))
    positions = sampled(labelled, most)
    if len(positions) < len(labelled):
        notes.append(
            f"{counted(len(positions), 'image')} were compared with each other, a random sample of {len(labelled)}; "
            "'featurebank inspect' compares all of them."
        )
    contents = np.unique(bank.digests(), return_inverse=True)[1]
    others = positions_in(bank, UNLABELLED)
    contents[others] = -1 - np.arange(len(others))  # an image without a label is on no side
    exact = _exact_copies(splits, contents)
    if exact:
        notes.append(
            f"{counted(len(exact), 'image')} {'is' if len(exact) == 1 else 'are'} in several splits, byte by byte."
        )
    with evidence.reporter.track("compare", len(positions), "images") as advance:
        near = near_pairs(
            bank.rows(tap, positions),
            groups[positions],
            contents[positions],
            threshold=NEAR,
            keep=SHOWN,
            progress=advance,
        )
    rows = [*exact, *zip(positions[near.first].tolist(), positions[near.second].tolist(), near.cosines, strict=True)]
    copies = [
        NearCopies(
            evidence.gallery.add(first), evidence.gallery.add(second), (str(splits[first]), str(splits[second])),
            float(cosine),
        )
        for first, second, cosine in rows[:SHOWN]
    ]  # fmt: skip
    return _Copies(copies, near.total + len(exact), len(positions), near.capped)


def _exact_copies(splits: np.ndarray, contents: np.ndarray) -> list[tuple[int, int, float]]:
    """Returns a pair for each content that is in several splits: (position, position, 1.0)."""
    order = np.lexsort((splits, contents))
    same = (contents[order][1:] == contents[order][:-1]) & (splits[order][1:] != splits[order][:-1])
    return [(int(order[place]), int(order[place + 1]), 1.0) for place in np.flatnonzero(same).tolist()]


def _comparable(counts: np.ndarray, width: int) -> int:
    """Returns how many images can be compared across splits of such sizes in some seconds."""
    total = int(counts.sum())
    pairs = (total**2 - int((counts.astype(np.int64) ** 2).sum())) / 2
    work = pairs * width
    return total if work <= MOST_PRODUCTS else int(total * (MOST_PRODUCTS / work) ** 0.5)


def sampled(positions: np.ndarray, most: int) -> np.ndarray:
    """Returns at most so many of the positions, a random sample that is always the same, in their order."""
    if len(positions) <= most:
        return positions
    return np.sort(np.random.default_rng(0).choice(positions, most, replace=False))
