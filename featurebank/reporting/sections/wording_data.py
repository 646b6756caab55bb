"""The sentences of a report about its data, its cost, the axes of its grid and its banks; see `wording`."""

from __future__ import annotations

from collections.abc import Sequence

from featurebank.reporting.sections.wording import Interval
from featurebank.words import between, counted, duration, percent, points

_NAMED = 3
"""The number of banks that a sentence names."""


def doubts(errors: int | None, images: int, pairs: int | None, *, compared: int = 0, capped: bool = False) -> str:
    """Returns what is doubtful about the data.

    Args:
        errors: the number of labels that look wrong; None if they were not examined.
        images: the number of images whose labels were examined.
        pairs: the number of pairs of nearly equal images in different splits; None if they were not searched.
        compared: the number of images that were compared with each other.
        capped: whether there may be more pairs.
    """
    return " ".join(part for part in (_labels(errors, images), _pairs(pairs, compared, capped=capped)) if part)


def _labels(errors: int | None, images: int) -> str:
    if errors is None:
        return "The labels were not examined."
    if not errors:
        return f"No label among {counted(images, 'image')} looks wrong."
    verb = "looks" if errors == 1 else "look"
    return (
        f"{errors} of {counted(images, 'label')} ({percent(errors / images)}) {verb} wrong: check "
        f"{'it' if errors == 1 else 'them'} by eye, the most doubtful first."
    )


def _pairs(pairs: int | None, compared: int, *, capped: bool) -> str:
    if pairs is None:
        return ""
    if not pairs:
        return "No two images of different splits look nearly the same."
    least = "More than " if capped else ""
    verb = "looks" if pairs == 1 else "look"
    if capped or pairs > compared > 0:
        return (
            f"{least}{counted(pairs, 'pair')} of images in different splits {verb} nearly the same: so many cannot all "
            "be copies, and it is the features that hardly distinguish these images."
        )
    return (
        f"{least}{counted(pairs, 'pair')} of images in different splits {verb} nearly the same: if they are copies, "
        "what a head remembers from training counts as recognised, and accuracies are too high."
    )


def savings(seconds: float | None, heads: int, passes: int, training: float) -> str:
    """Returns what one extraction saved, fairly.

    Args:
        seconds: the measured time of one pass of the network over all images; None if it was not measured.
        heads: the number of trained heads.
        passes: how often the heads used the features: once for each epoch, or once for a head without epochs.
        training: the time of the training of all heads.
    """
    if seconds is None:
        return "The time of the extraction is not recorded, so that nothing can be said about what it saved."
    if heads <= 1:
        return (
            f"One pass of the network took {duration(seconds)}, and so far one head used it, so that nothing is saved "
            "yet: the second head is the first that gains."
        )
    once, each = heads * seconds, passes * seconds
    epochs = ""
    if passes > heads:
        epochs = f", and up to {duration_in_words(each)} if the network ran again in every epoch, as in usual training"
    return (
        f"One pass of the network took {duration(seconds)} and served {counted(heads, 'head')}, whose training took "
        f"{duration(training)}. Without the bank, a pass for each head would have taken {duration_in_words(once)}"
        f"{epochs}."
    )


def duration_in_words(seconds: float) -> str:
    """Returns a duration, also a long one.

    Example:
        >>> duration_in_words(3.2), duration_in_words(4 * 3600), duration_in_words(90 * 3600)
        ('3.2 s', '4.0 h', '3.8 days')
    """
    if seconds < 2 * 3600:
        return duration(seconds)
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"  # noqa: PLR2004 - two days


def break_even(seconds: float, heads: int) -> str:
    """Returns from which head on an extraction is worth its time."""
    state = "" if heads > 1 else " (not reached yet)"
    return f"the second head{state}: the first would have needed the same pass of {duration(seconds)}"


def compared(
    best: str, other: str, gain: float | None, interval: Interval | None, *, faster: str, same_images: bool
) -> str:
    """Returns which of several banks to go on with.

    Args:
        best: the bank with the best head.
        other: the bank that comes second.
        gain: by how much the first is better.
        interval: the 95 % interval of the gain; None if the answers for single images are not recorded.
        faster: the bank whose extraction took least time; "" if that is unknown.
        same_images: whether all banks were validated on the same images.
    """
    cheap = "" if faster in {"", best} else f" The extraction of {faster} took the least time."
    if not same_images or gain is None:
        return (
            f"The best head of {best} has the highest accuracy, but the banks were not validated on the same images, "
            f"so that their accuracies cannot be compared exactly.{cheap}"
        )
    if interval is None:
        return (
            f"The best head of {best} is better than that of {other} by {points(gain)} on the same images. Whether "
            f"that is more than chance is not known, because the answers for single images are not recorded.{cheap}"
        )
    if interval[0] <= 0:
        choice = faster or "the cheapest one"
        return (
            f"{best} and {other} cannot be told apart: the difference of {points(gain)} is within chance. Choose by "
            f"cost: {choice}{' took the least time' if faster else ''}."
        )
    sure = f"95 % interval {between(interval)}"
    return f"{best} is better than {other} by {points(gain)} ({sure}), more than chance.{cheap}"


def together(
    heads: int, head: str, bank: str, accuracy: float, others: Sequence[str], *, fastest: str, speed: float | None
) -> str:
    """Returns what one leaderboard of several banks teaches.

    Args:
        heads: the number of heads on it.
        head: the best head.
        bank: the bank of the best head.
        accuracy: of the best head.
        others: the other banks with a head that cannot be told apart from the best.
        fastest: the fastest in use of `bank` and `others`; "" if that is not known.
        speed: how many images a second it handles.
    """
    first = f"The best of {counted(heads, 'head')} is {head} of {bank}, with {percent(accuracy)}."
    if not others:
        return f"{first} It is better than all heads of the other banks, by more than chance."
    names = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
    alike = f"{first} Heads of {names} cannot be told apart from it"
    if not fastest or speed is None:
        return f"{alike}: choose by what a prediction costs."
    return f"{alike}: the fastest of these in use is {fastest}, with {speed:.3g} images/s."
