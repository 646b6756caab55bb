"""The analyses of the examined images, with images and classes by their names: one function for each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from featurebank.advice.confusions import ClassPair, confused_classes
from featurebank.advice.duplicates import contradicting_pairs
from featurebank.advice.examined import ExaminedImages, described
from featurebank.advice.label_errors import LabelDoubts, doubtful_labels, most_images
from featurebank.advice.learning_curve import LEAST_IMAGES as LEAST_OF_CURVE
from featurebank.advice.learning_curve import MOST_IMAGES as MOST_OF_CURVE
from featurebank.advice.learning_curve import Forecast, LearningCurve, fitted_curve, subset_answers, subset_count
from featurebank.advice.outliers import outliers
from featurebank.advice.result import ClassForecast, DoubtfulLabel, FarImage, LabelConflict, MixedClasses
from featurebank.errors import HeadError
from featurebank.words import counted, one_line, percent

LEAST_ACCURACY = 0.5
"""Below it, most doubts about labels would be mistakes of the features."""
LONGER = 10
"""Labels of all images are examined for so many times as long as in a report."""
MOST_PRODUCTS = 1 << 37
"""Limit of pairs x features that are compared, some seconds; of more images, a sample is compared."""
MOST_CONFUSIONS = 20
MOST_OUTLIERS = 100
LEAST_OF_CLASS = 50
"""Images of a class that has a forecast of its own."""
MOST_CLASSES = 20
FARTHEST = 8
"""A curve forecasts nothing for more than so many times as many images as it was measured with."""


class Doubts(NamedTuple):
    """What a head that was trained without each image says about the labels."""

    errors: tuple[DoubtfulLabel, ...]
    doubted: int
    """The number of doubted labels."""
    images: int
    """The number of images whose labels were examined."""
    accuracy: float | None
    """None if the head is too weak to doubt any label."""
    confusions: tuple[MixedClasses, ...]


class Conflicts(NamedTuple):
    """Equal or nearly equal images with different labels."""

    conflicts: tuple[LabelConflict, ...]
    total: int
    equal: int
    capped: bool


def find_doubts(images: ExaminedImages, top: int | None) -> Doubts:
    """Finds probable label errors, and the classes that are mixed up.

    Args:
        images: the images.
        top: list so many of the least probable labels; None for the doubted ones.
    """
    most = LONGER * most_images(images.features.shape[1], len(images.bank.classes))
    rows = images.sample(most, "Labels were examined")
    try:
        with images.reporter.step(f"examining {counted(len(rows), 'label')}"):
            result = doubtful_labels(images.features[rows], images.labels[rows], images.groups_of(rows))
    except HeadError as error:
        images.notes.append(f"The labels could not be examined: {one_line(error)}")
        return Doubts((), 0, 0, None, ())
    confusions = _mixed_classes(images, result, rows)
    if result.accuracy < LEAST_ACCURACY:
        images.notes.append(
            f"The labels were not doubted: from these features a head recognises only {percent(result.accuracy)} of "
            "the images, so that most doubts would be its own mistakes."
        )
        return Doubts((), 0, len(rows), None, confusions)
    images.notes.append(
        f"Labels are doubted by a head that recognises {percent(result.accuracy)} of the images without having been "
        "trained on them: the fewer it recognises, the more of its doubts are mistakes of its own."
    )
    return Doubts(_errors(images, rows, result, top), len(result.rows), len(rows), result.accuracy, confusions)


def _errors(
    images: ExaminedImages, rows: np.ndarray, result: LabelDoubts, top: int | None
) -> tuple[DoubtfulLabel, ...]:
    shown = result.rows if top is None else result.ranking[:top]
    doubted = set(result.rows.tolist())
    present = np.unique(images.labels[rows])
    own = np.searchsorted(present, images.labels[rows[shown]])
    others = result.probabilities[shown].copy()
    others[np.arange(len(shown)), own] = -1
    suggested = others.argmax(axis=1)
    return tuple(
        DoubtfulLabel(image, images.bank.classes[present[other]], float(row[other]), float(belief), place in doubted)
        for image, other, row, belief, place in zip(
            images.describe(rows[shown]), suggested, others, result.beliefs[shown], shown.tolist(), strict=True
        )
    )


def _mixed_classes(images: ExaminedImages, result: LabelDoubts, rows: np.ndarray) -> tuple[MixedClasses, ...]:
    present, positions = np.unique(images.labels[rows], return_inverse=True)
    names = [images.bank.classes[label] for label in present.tolist()]
    pairs = confused_classes(result.probabilities, positions, images.groups_of(rows))
    return tuple(_named(pair, names) for pair in pairs[:MOST_CONFUSIONS])


def _named(pair: ClassPair, names: list[str]) -> MixedClasses:
    return MixedClasses(
        names[pair.first], names[pair.second], pair.first_as_second, pair.second_as_first, pair.images, pair.share,
        pair.interval, pair.separation, pair.separation_interval, bool(pair.cannot_be_separated),
    )  # fmt: skip


def find_conflicts(images: ExaminedImages) -> Conflicts:
    """Finds equal or nearly equal images with different labels, also between the test split and the others."""
    bank = images.bank
    positions = np.flatnonzero(np.isin(bank.splits(), ("train", "val", "test")))
    most = int((2 * MOST_PRODUCTS / images.features.shape[1]) ** 0.5)
    if len(positions) > most:
        images.notes.append(f"Images were compared with each other: a random sample of {most} of {len(positions)}.")
        positions = np.sort(np.random.default_rng(0).choice(positions, most, replace=False))
    contents = np.unique(bank.digests()[positions], return_inverse=True)[1]
    with images.reporter.track("compare", len(positions), "images") as advance:
        pairs = contradicting_pairs(
            bank.rows(images.tap, positions), bank.labels()[positions], contents, progress=advance
        )
    first, second = described(bank, positions[pairs.first]), described(bank, positions[pairs.second])
    found = tuple(
        LabelConflict(a, b, float(cosine), place < pairs.equal)
        for place, (a, b, cosine) in enumerate(zip(first, second, pairs.cosines, strict=True))
    )
    return Conflicts(found, pairs.total, pairs.equal, pairs.capped)


def find_outliers(images: ExaminedImages) -> tuple[FarImage, ...]:
    """Finds the images that resemble no other."""
    rows = images.sample(int((MOST_PRODUCTS / images.features.shape[1]) ** 0.5), "Outliers were searched among")
    with images.reporter.track("search outliers", len(rows), "images") as advance:
        result = outliers(images.features[rows], images.labels[rows], progress=advance)
    shown = result.rows[:MOST_OUTLIERS]
    columns = (result.nearest[shown].tolist(), result.own[shown].tolist(), result.others[shown].tolist())
    return tuple(
        FarImage(image, *distances) for image, *distances in zip(images.describe(rows[shown]), *columns, strict=True)
    )


def find_forecasts(
    images: ExaminedImages,
) -> tuple[LearningCurve | None, tuple[Forecast, ...], tuple[ClassForecast, ...]]:
    """Measures the learning curve, and forecasts what more images would bring, also for large classes."""
    if len(images) < LEAST_OF_CURVE:
        images.notes.append(
            f"There is no learning curve: it needs {LEAST_OF_CURVE} images, and there are {len(images)}."
        )
        return None, (), ()
    rows = images.sample(MOST_OF_CURVE, "The learning curve was measured with")
    labels, groups = images.labels[rows], images.groups_of(rows)
    try:
        with images.reporter.track("learn from parts", subset_count(len(rows), groups), "heads") as advance:
            sizes, wrong = subset_answers(images.features[rows], labels, groups, progress=advance)
    except HeadError as error:
        images.notes.append(f"The learning curve could not be measured: {one_line(error)}")
        return None, (), ()
    curve = fitted_curve(sizes, wrong, groups)
    total = images.total
    if total > FARTHEST * len(rows):
        images.notes.append(
            f"There are no forecasts: {counted(total, 'image')} are far more than the {len(rows)} of the curve."
        )
        return curve, (), ()
    forecasts = tuple(curve.forecast(total + more, total) for more in steps(total))
    return curve, forecasts, _of_classes(images, rows, sizes, wrong)


def _of_classes(
    images: ExaminedImages, rows: np.ndarray, sizes: np.ndarray, wrong: list[np.ndarray]
) -> tuple[ClassForecast, ...]:
    labels, groups = images.labels[rows], images.groups_of(rows)
    counts = np.bincount(labels, minlength=len(images.bank.classes))
    errors = np.bincount(labels, wrong[-1][0], minlength=len(counts)) / np.maximum(counts, 1)
    large = [label for label in np.argsort(-errors, kind="stable").tolist() if counts[label] >= LEAST_OF_CLASS]
    forecasts = []
    for label in large[:MOST_CLASSES]:
        own = labels == label
        curve = fitted_curve(sizes, [answers[:, own] for answers in wrong], None if groups is None else groups[own])
        forecast = curve.forecast(images.total + steps(images.total)[-1], images.total)
        forecasts.append(ClassForecast(images.bank.classes[label], int(counts[label]), float(errors[label]), forecast))
    return tuple(forecasts)


def steps(images: int) -> tuple[int, ...]:
    """Returns for how many more images there are forecasts: about a quarter, a half and all of those that there are.

    Example:
        >>> steps(425), steps(2000)
        ((100, 200, 400), (500, 1000, 2000))
    """
    step = images / 4
    unit = 10 ** int(np.floor(np.log10(step)))
    rounded = max(factor * unit for factor in (1, 2, 2.5, 5) if factor * unit <= step)
    return tuple(int(rounded * factor) for factor in (1, 2, 4))
