"""The sentences of a report: what a reader should conclude from the numbers of each section.

Every function takes plain numbers and names, and returns one or two plain sentences. They say how certain a conclusion
is: an accuracy on few images has a wide interval, and the best of many heads looks better than it is.
"""

from __future__ import annotations

from featurebank.words import between, counted, duration, every, names, percent, points

FEW_IMAGES = 50
"""Fewer validation images than this cannot distinguish heads that differ by less than ten points or so."""
MANY = 10
"""The best of so many heads or more looks better than it is, by so much that the reader should know it."""
Interval = tuple[float, float]


def share_of(share: float, images: int | None) -> str:
    """Returns an accuracy, with the number of right answers where it is a whole one.

    Example:
        >>> share_of(63 / 67, 67), share_of(0.9111, None)
        ('94.0 % (63 of 67)', '91.1 %')
    """
    right = share * images if images else 0.5
    whole = abs(right - round(right)) < 1e-6  # noqa: PLR2004 - rounding errors; a mean over seeds is no whole number
    return f"{percent(share)} ({right:.0f} of {images})" if whole else percent(share)


def what_ran(backbone: str, *, images: int, classes: int, seconds: float | None, heads: int, training: float) -> str:
    """Returns what was run and how long it took."""
    took = f" once, in {duration(seconds)}" if seconds is not None else " once"
    trained = f"; {counted(heads, 'head')} {'was' if heads == 1 else 'were'} trained on the stored features"
    return (
        f"{counted(images, 'image')} of {counted(classes, 'class')} went through {backbone}{took}{trained} in "
        f"{duration(training)}."
    )


def winner(
    head: str, accuracy: float, interval: Interval, images: int | None, *, classes: int, heads: int, alike: int,
    near: int, verdict: str, train: float, at_chance: bool,
) -> str:  # fmt: skip
    """Returns what to think of the chosen run.

    Args:
        head: its name.
        accuracy: its validation accuracy.
        interval: the 95 % interval of the accuracy.
        images: the number of validation images, if known.
        classes: the number of classes.
        heads: the number of heads that were compared.
        alike: the number of other heads that cannot be told apart from it.
        near: the number of these whose accuracy is within one standard error of it.
        verdict: see `Entry.verdict`.
        train: its training accuracy.
        at_chance: whether it may be no better than guessing.
    """
    if at_chance:
        return (
            f"No head is clearly better than guessing: the best, {head}, is right on {percent(accuracy)} of the "
            f"validation images (95 % interval {between(interval)}), and guessing reaches about "
            f"{percent(1 / max(1, classes))}. The features do not distinguish these classes."
        )
    first = _winners_accuracy(head, accuracy, interval, images, heads)
    return f"{first} {_winners_doubts(heads, (alike, near), images, verdict, train)}"


def _winners_accuracy(head: str, accuracy: float, interval: Interval, images: int | None, heads: int) -> str:
    if accuracy == 1 and images:
        return (
            f"{head} classifies {every(images, 'validation image')} correctly; on new images its accuracy may still be "
            f"as low as {percent(interval[0])}."
        )
    return (
        f"{head} is right on {share_of(accuracy, images)} of the validation images; on new images, expect "
        f"{between(interval)}{_selected(heads)}."
    )


def _selected(heads: int) -> str:
    """Returns a warning of selection: the highest of many accuracies is in part good luck."""
    return (
        f", rather in the lower half, because the best of {counted(heads, 'head')} looks better than it is"
        if heads >= MANY
        else ""
    )


def _winners_doubts(heads: int, alike: tuple[int, int], images: int | None, verdict: str, train: float) -> str:
    if images is not None and images < FEW_IMAGES:
        return (
            f"{counted(images, 'validation image')} are too few to choose a head by: add images before you rely on it."
        )
    if verdict == "over-fits":
        return (
            f"It knows its training images much better ({percent(train)}): more images or stronger regularisation will "
            "help more than another head."
        )
    if heads == 1:
        return "It is the only head, so there is nothing to compare it with."
    if not alike[0]:
        return "It is better than all other heads, by more than chance."
    if not alike[1]:
        return f"{_others(alike[0])} cannot be told apart from it, though none is within one standard error of it."
    return (
        f"{_others(alike[0])} cannot be told apart from it on these images, and {alike[1]} of them "
        f"{'is' if alike[1] == 1 else 'are'} within one standard error: choose among these by cost."
    )


def _others(count: int) -> str:
    return "1 other head" if count == 1 else f"{count} other heads"


def nothing_to_choose(failed: int, reason: str) -> str:
    """Returns what to do if no run can be chosen."""
    if not failed:
        return "No run is finished, so none can be chosen: let the same command go on."
    return f"{_whole(failed)} failed, so there is nothing to choose from. The first reason: {reason}"


def _whole(count: int) -> str:
    words = every(count, "run")
    return words[:1].upper() + words[1:]


def gap(train: float, validation: float, verdict: str) -> str:
    """Returns the gap between training and validation accuracy in words.

    Example:
        >>> gap(1.0, 0.9, "over-fits")
        '10.0 points: it over-fits, because it knows its training images much better than new ones'
    """
    meaning = {
        "over-fits": "it over-fits, because it knows its training images much better than new ones",
        "under-fits": "it under-fits, because it does not even learn its training images",
        "at chance": "it may be no better than guessing",
    }.get(verdict, "no more than chance explains on so many validation images")
    return f"{'' if train >= validation else '-'}{points(train - validation)}: {meaning}"


def board(
    *, heads: int, alike: int, images: int | None, runner_up: tuple[str, str] | None, cheapest: str, failed: int
) -> str:
    """Returns what the leaderboard teaches.

    Args:
        heads: the number of heads.
        alike: the number of heads that cannot be told apart from the first.
        images: the number of validation images.
        runner_up: the second head, and in words by how much it is worse.
        cheapest: the head of the least training time among the first and those within one standard error of it.
        failed: the number of failed runs.
    """
    more = f" {counted(failed, 'run')} failed; the table gives the reasons." if failed else ""
    if not heads:
        return f"No head has a result.{more}"
    if heads == 1:
        return f"One head was trained: add others, such as 'featurebank heads --grid', to have a comparison.{more}"
    on = f" on {counted(images, 'validation image')}" if images else ""
    if alike:
        equal = "None of the other heads" if alike == heads - 1 else f"{alike} of {counted(heads - 1, 'other head')}"
        verb = "can" if alike == heads - 1 else "cannot"
        return (
            f"{equal} {verb} be told apart from the best{on}. Among those within one standard error of it, the fastest "
            f"is {cheapest}.{more}"
        )
    behind = f" The next, {runner_up[0]}, is {runner_up[1]} behind." if runner_up else ""
    return f"The best head is better than all {heads - 1} others{on}, by more than chance.{behind}{more}"


def axis(best: str, worst: str, gain: float, *, interval: Interval | None, pairs: int) -> str:
    """Returns what one axis of a grid changes.

    Args:
        best: the value with the highest mean.
        worst: the value with the lowest mean.
        gain: the mean difference between the two, over heads that are otherwise equal.
        interval: its 95 % interval over the images, if it is known.
        pairs: the number of pairs of such heads; 0 if the best heads with these values are compared.
    """
    compared = (
        f"over {counted(pairs, 'pair')} of otherwise equal heads" if pairs else "comparing the best heads of each"
    )
    if round(1000 * gain) == 0:
        return f"No difference: heads with {best} and with {worst} are equally good, {compared}."
    if interval is None:
        return f"{best} is {points(gain)} better than {worst} on average, {compared}."
    low, high = (f"{100 * end:.1f}" for end in interval)
    if interval[0] <= 0:
        return (
            f"No difference beyond chance: {best} is {points(gain)} better than {worst} (95 % interval {low} to "
            f"{high}), {compared}."
        )
    return f"{best} is better than {worst} by {points(gain)} (95 % interval {low} to {high}), {compared}."


def axes(mattering: list[tuple[str, float]], idle: int) -> str:
    """Returns which axes of a grid matter.

    Args:
        mattering: the axes with an effect beyond chance, and the effect of each, largest first.
        idle: the number of the other axes.
    """
    if not mattering:
        return f"None of {counted(idle, 'axis', 'axes')} makes a difference beyond chance on these validation images."
    first, effect = mattering[0]
    others = f", then {names([name for name, _ in mattering[1:]])}" if len(mattering) > 1 else ""
    rest = f"; {counted(idle, 'other axis', 'other axes')} {_make(idle)} no difference beyond chance" if idle else ""
    return f"{first} matters most ({points(effect)} between its best and its worst value){others}{rest}."


def _make(count: int) -> str:
    return "makes" if count == 1 else "make"
