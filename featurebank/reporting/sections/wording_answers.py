"""The sentences of a report about the predictions of the chosen run and the map of its images; see `wording`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist

from featurebank.certainty.measured import MeasuredCertainty
from featurebank.reporting.sections.wording import share_of
from featurebank.statistics import proportion_interval
from featurebank.words import between, counted, every, names, percent

LEVEL = 0.05
"""The chance that a class is called weak although it is not; the worst of many classes looks weak by chance."""
COVERAGE = 0.95
"""The coverage that the sentence about sets of classes names."""
SURE = 0.9
"""The probability above which a wrong answer is confident."""


def confusions(right: int, total: int, top: tuple[str, str, int, int] | None) -> str:
    """Returns what the confusion matrix teaches.

    Args:
        right: the number of right predictions.
        total: the number of images.
        top: the most frequent confusion: true class, predicted class, number of images, images of the true class.
    """
    if top is None:
        return f"Nothing is confused: {every(total, 'image')} {_is(total)} classified correctly."
    true, other, count, of = top
    if count == 1:
        wrong = total - right
        return f"{counted(wrong, 'image')} of {total} {_is(wrong)} wrong, and no two classes are confused twice."
    share = count / max(1, total - right)
    return (
        f"{true} is most often taken for {other}: {count} of its {counted(of, 'image')}, and {percent(share)} of all "
        f"{total - right} mistakes."
    )


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def per_class(
    recalls: Sequence[tuple[str, int, int]],
    missing: Sequence[str],
    interval: Callable[[str, float], tuple[float, float] | None] | None = None,
) -> str:
    """Returns which classes are weak, as far as the number of their images can show it.

    Args:
        recalls: for each class with images, its name, its right predictions and its images.
        missing: the classes without images.
        interval: returns the interval of the recall of a class at a confidence level, None if its groups are too few;
            default: that of independent images.
    """
    nothing = ""
    if missing:
        nothing = f" Nothing is known about {names(missing)}, which {_has(len(missing))} no validation image."
    if not recalls:
        return nothing.strip()
    right, total = sum(row[1] for row in recalls), sum(row[2] for row in recalls)
    name, hits, of = min(recalls, key=lambda row: (row[1] / row[2], -row[2]))
    if hits == of:
        return f"Every class is recognised without a mistake.{nothing}"
    low, high = (
        proportion_interval(hits / of, of, NormalDist().inv_cdf(1 - LEVEL / 2 / len(recalls)))
        if interval is None
        else interval(name, 1 - LEVEL / len(recalls)) or (0.0, 1.0)
    )
    if high < right / total:
        return (
            f"{name} is recognised worst, and more than chance explains: {share_of(hits / of, of)} of its images, "
            f"where all classes together reach {percent(right / total)}.{nothing}"
        )
    equal = [row[0] for row in recalls if row[1:] == (hits, of)]
    verb, whose = ("is", "its images") if len(equal) == 1 else ("are", "the images of each")
    return (
        f"{names(equal)} {verb} recognised worst, {share_of(hits / of, of)} of {whose}, but on so few images the true "
        f"share may be anything from {between((low, high))}: no class is clearly weaker than the others.{nothing}"
    )


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def calibration(confidence: float, accuracy: float, error: float, images: int) -> str:
    """Returns how far probabilities can be believed.

    Args:
        confidence: the mean probability of the predicted classes.
        accuracy: the accuracy.
        error: the standard error of their difference if the probabilities are right.
        images: the number of images.
    """
    difference = confidence - accuracy
    claim = (
        f"The winner's answers have a probability of {percent(confidence)} on average, and {percent(accuracy)} are "
        "right"
    )
    if abs(difference) <= 1.96 * error:
        return (
            f"{claim}: on {counted(images, 'image')}, chance explains such a difference, so there is no reason "
            "to correct the probabilities."
        )
    if difference > 0:
        return f'{claim}: it is over-confident. The parameter calibrate = "temperature" of a head mends that.'
    return f'{claim}: it is too cautious. The parameter calibrate = "temperature" of a head mends that.'


def certainty(found: MeasuredCertainty) -> str:
    """Returns what sets of classes and abstention would do with new images.

    Args:
        found: the measurement.
    """
    sets = min(found.sets, key=lambda one: abs(one.target - COVERAGE))
    start = (
        f"Sets that are to have the true class of {percent(sets.target)} of the images have it for "
        f"{percent(sets.coverage)}, with a mean size of {sets.size:.1f}"
    )
    overall = found.curve[-1][1]
    useful = [one for one in found.answers if one.target < overall] or list(found.answers[:1])
    answers = useful[-1]
    if answers.error is None:
        return f"{start}. An error of {percent(answers.target)} is reached by no threshold, on so few images."
    return (
        f"{start}. Asked for an error of {percent(answers.target)}, the head answers {percent(answers.share)} of the "
        f"images, and is wrong for {percent(answers.error)} of these; answering all, it is for {percent(overall)}."
    )


def mistakes(wrong: int, total: int, sure: int) -> str:
    """Returns what to look for among the mistakes.

    Args:
        wrong: the number of mistakes.
        total: the number of images.
        sure: the number of mistakes with a probability above `SURE`.
    """
    if not wrong:
        return f"There is no mistake among {counted(total, 'image')}."
    if not sure:
        return (
            f"{counted(wrong, 'image')} of {total} {_is(wrong)} wrong, none of them with a probability above "
            f"{percent(SURE)}: where this head is sure, it is right."
        )
    return (
        f"{counted(wrong, 'image')} of {total} {_is(wrong)} wrong, {sure} of them with a probability above "
        f"{percent(SURE)}: look at {'this one' if sure == 1 else 'these'} first: the label may be wrong instead."
    )


def image_map(agreeing: float, chance: float, images: int) -> str:
    """Returns how well the features separate the classes.

    Args:
        agreeing: the share of an image's nearest neighbours that are of its class.
        chance: the share that random neighbours would have.
        images: the number of images.
    """
    start = (
        f"Of the 5 nearest neighbours of an image, {percent(agreeing)} are of its class (by chance, {percent(chance)})"
    )
    if agreeing < chance + 0.1 * (1 - chance):
        return f"{start}: the features hardly separate the classes, so that no head can."
    if agreeing < chance + 0.6 * (1 - chance):
        return f"{start}: the classes overlap, and heads have to find what distinguishes them."
    return (
        f"{start}: the features separate the classes well. A map in two dimensions shows less than the features hold."
    )
