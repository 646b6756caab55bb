"""Classes that are mixed up, or cannot be told apart at all, by a head that predicts each image without itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurebank.metrics.group_effects import GroupEffects
from featurebank.metrics.significance import share_interval
from featurebank.statistics import proportion_interval

LEAST_IMAGES = 10
"""With fewer images of a class, nobody can say whether it can be told from another."""
MOST_PAIRS = 200
_LEVEL_Z = 1.959964


@dataclass(frozen=True)
class ClassPair:
    """Two classes that a head mixes up."""

    first: int
    """The position of the class; more of its images are taken for the other than the other way round."""
    second: int
    first_as_second: int
    """The number of images of the first class that are predicted to be of the second."""
    second_as_first: int
    images: int
    """The number of images of both classes."""
    share: float
    """The share of the images of both that are taken for the other class."""
    interval: tuple[float, float]
    """The 95 % interval of this share."""
    separation: float
    """How often the head prefers the right one of the two, averaged over both classes; guessing reaches .5."""
    separation_interval: tuple[float, float]
    """The 95 % interval of the separation."""

    @property
    def cannot_be_separated(self) -> bool:
        """Whether the head may be no better than chance at telling the two apart, with enough images to judge."""
        return self.separation_interval[0] <= 0.5 and np.isfinite(self.separation)  # noqa: PLR2004 - chance


def confused_classes(
    probabilities: np.ndarray, positions: np.ndarray, groups: np.ndarray | None = None
) -> list[ClassPair]:
    """Returns the pairs of classes of which one is predicted for the other, those that cannot be separated first.

    The others follow by the share of their images that are mixed up.

    Args:
        probabilities: (n, classes), each row by a head that was trained without the image.
        positions: (n,) the class of each image.
        groups: (n,) the group of each image, if images of one group are not independent.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9]])
        >>> pair, = confused_classes(probabilities, np.array([0, 0, 1, 1]))
        >>> pair.first, pair.first_as_second, pair.share
        (0, 1, 0.25)
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    counts = np.bincount(positions * classes + predicted, minlength=classes**2).reshape(classes, classes)
    mixed = np.triu(counts + counts.T, 1)
    sizes = counts.sum(axis=1)
    shares = mixed / np.maximum(sizes[:, None] + sizes, 1)
    order = np.argsort(-shares, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), classes) for place in order if mixed.flat[place]]
    pairs = [_pair(probabilities, positions, counts, groups, (a, b) if counts[a, b] >= counts[b, a] else (b, a))
             for a, b in places]  # fmt: skip
    return sorted(pairs, key=lambda pair: not pair.cannot_be_separated)


def _pair(
    probabilities: np.ndarray, positions: np.ndarray, counts: np.ndarray, groups: np.ndarray | None,
    pair: tuple[int, int],
) -> ClassPair:  # fmt: skip
    first, second = pair
    images = int(counts[first].sum() + counts[second].sum())
    mixed = int(counts[first, second] + counts[second, first])
    rights = [
        probabilities[positions == own, own] > probabilities[positions == own, other]
        for own, other in ((first, second), (second, first))
    ]
    separation, interval = _separation(rights)
    share_between = proportion_interval(mixed / images, images)
    if groups is not None:
        rows = np.concatenate([np.flatnonzero(positions == own) for own in (first, second)])
        predicted = probabilities[rows].argmax(axis=1)
        taken = np.where(positions[rows] == first, predicted == second, predicted == first).astype(float)
        share_between = share_interval(taken, groups[rows]) or (0.0, 1.0)
        interval = _separation_of_groups(rights, groups[rows], interval)
    return ClassPair(
        first, second, int(counts[first, second]), int(counts[second, first]), images, mixed / images,
        share_between, separation, interval,
    )  # fmt: skip


def _separation(rights: list[np.ndarray]) -> tuple[float, tuple[float, float]]:
    """Returns the mean of two shares of right preferences, and its 95 % interval; NaN with too few images.

    Two right and two wrong answers are added to each class, as Agresti and Coull do.
    """
    if min(map(len, rights)) < LEAST_IMAGES:
        return np.nan, (0.0, 1.0)
    shares = [(float(right.sum()) + 2) / (len(right) + 4) for right in rights]
    half = _LEVEL_Z * float(np.sqrt(sum(p * (1 - p) / (len(r) + 4) for p, r in zip(shares, rights, strict=True)))) / 2
    middle = sum(shares) / 2
    return float(np.mean([right.mean() for right in rights])), (max(0.0, middle - half), min(1.0, middle + half))


def _separation_of_groups(
    rights: list[np.ndarray], groups: np.ndarray, alone: tuple[float, float]
) -> tuple[float, float]:
    """Returns the interval of the separation by groups, no narrower than that of independent images.

    Args:
        rights: for both classes, (n,) bool.
        groups: (n,) the groups of the images of the first class, then of the second.
        alone: the interval of independent images.
    """
    first = len(rights[0])
    parts = [GroupEffects.of_values(right, own) for right, own in
             zip((right.astype(float) for right in rights), (groups[:first], groups[first:]), strict=True)]  # fmt: skip
    found = GroupEffects.joined(parts, [0.5, 0.5]).share_interval() if all(p.are_enough for p in parts) else None
    return (0.0, 1.0) if found is None else (min(alone[0], found[0]), max(alone[1], found[1]))
