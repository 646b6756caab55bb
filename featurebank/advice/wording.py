"""What the advice says, in sentences: the most important first, each with how certain it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from featurebank.advice.learning_curve import Forecast, LearningCurve
from featurebank.words import between, counted, names, one_line, percent

if TYPE_CHECKING:
    from featurebank.advice.result import ClassForecast, Labelling, MixedClasses

FLAT = 0.005
"""A curve is flat if twice as many images would gain less than half a point."""
MISFIT = 0.02
"""A curve whose points are two points of accuracy off its law, on average, forecasts nothing."""
_LONGEST = 60


def labels(doubted: int, images: int) -> str:
    """Returns what was found about the labels.

    Example:
        >>> labels(3, 400)
        '3 of 400 labels (0.8 %) look wrong: look at the images, the most doubtful first, and correct them.'
    """
    if not doubted:
        return f"No label among {counted(images, 'image')} looks wrong."
    verb, them = ("looks", "it") if doubted == 1 else ("look", "them")
    return (
        f"{doubted} of {counted(images, 'label')} ({percent(doubted / images)}) {verb} wrong: look at the "
        f"{'image' if doubted == 1 else 'images, the most doubtful first,'} and correct {them}."
    )


def conflicts(total: int, equal: int, *, capped: bool = False) -> str | None:
    """Returns what was found about equal images with different labels; None if there are none."""
    if not total:
        return None
    of_equal = "" if not equal else f", {equal} of them equal byte for byte"
    least = "More than " if capped else ""
    return (
        f"{least}{counted(total, 'pair')} of nearly equal images {'has' if total == 1 else 'have'} different labels"
        f"{of_equal}: only one label of each pair can be right."
    )


def outlying(count: int, images: int) -> str | None:
    """Returns what was found about outliers; None if there are none."""
    if not count:
        return None
    verb, they = ("resembles", "it belongs") if count == 1 else ("resemble", "they belong")
    return f"{count} of {counted(images, 'image')} {verb} no other: check whether {they} in the dataset."


def mixed(pairs: Sequence[MixedClasses]) -> list[str]:
    """Returns what was found about classes that are mixed up."""
    apart = [f"'{_name(pair.first)}' and '{_name(pair.second)}'" for pair in pairs if pair.cannot_be_separated]
    lines = []
    if apart:
        lines.append(
            f"From these features no head tells {names(apart, 3)} apart better than chance: join "
            f"{'these classes' if len(apart) == 1 else 'the classes of each pair'}, or use other features."
        )
    rest = [pair for pair in pairs if not pair.cannot_be_separated]
    if rest:
        worst = rest[0]
        mixed_up = worst.first_as_second + worst.second_as_first
        lines.append(
            f"'{_name(worst.first)}' and '{_name(worst.second)}' are mixed up most: {mixed_up} of "
            f"{counted(worst.images, 'image')} ({percent(worst.share)}, 95 % interval {between(worst.interval)})."
        )
    return lines


def more_images(curve: LearningCurve | None, forecasts: Sequence[Forecast]) -> str | None:
    """Returns what more images would bring; None without a curve."""
    if curve is None or not forecasts:
        return None
    if curve.misfit > MISFIT:
        return (
            "The learning curve follows no power law (its points are "
            f"{100 * curve.misfit:.1f} points off on average), so that nobody can say what more images would bring."
        )
    first, last = forecasts[0], forecasts[-1]
    if last.gain_interval[1] < FLAT or last.gain < FLAT:
        return (
            f"The learning curve is flat: {counted(last.more, 'more image')} would bring {gain_of(last)}. Other "
            "features, cleaner labels or a fine-tune will help more."
        )
    doubled = "" if last is first else f", {last.more} more {gain_of(last)}"
    return f"{counted(first.more, 'more image')} would bring {gain_of(first)}{doubled}."


def of_classes(forecasts: Sequence[ClassForecast]) -> str | None:
    """Returns which class would gain most from more images; None if none would gain for certain."""
    surely = [one for one in forecasts if one.forecast.gain_interval[0] > 0]
    if not surely:
        return None
    best = max(surely, key=lambda one: one.forecast.gain)
    more = counted(best.forecast.more, "more image")
    return f"'{_name(best.label)}' would gain most: {more} of all classes would bring it {gain_of(best.forecast)}."


def gain_of(forecast: Forecast) -> str:
    """Returns a gain with its interval.

    Example:
        >>> gain_of(Forecast(800, 400, 0.1, (0.08, 0.12), 0.014, (0.006, 0.022)))
        '+1.4 points (0.6 to 2.2)'
    """
    low, high = forecast.gain_interval
    return f"{100 * forecast.gain:+.1f} points ({100 * low:.1f} to {100 * high:.1f})"


def to_label(labelling: Labelling | None) -> str | None:
    """Returns what to label next; None if no images without labels were given."""
    if labelling is None:
        return None
    if not labelling.queue:
        return "There is nothing to label: the bank has all of these images with a label."
    rest = labelling.unlabelled - labelling.known
    if labelling.groups >= rest:
        return "Label the one image." if rest == 1 else f"Label all {rest} images, the most uncertain first."
    return (
        f"Label {counted(labelling.groups, 'image')} of {rest} first: of each group of similar images about which the "
        "head is unsure, the most uncertain one."
    )


def _name(label: str) -> str:
    return one_line(label, _LONGEST)
