"""The effect of each axis of a grid: what one parameter changes while all others stay the same.

Two values of a parameter are compared over pairs of heads that differ in nothing else, on the same validation images.
So the images that are hard for every head do not blur the difference, and its interval is that of paired answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from featurebank.fitting.spec import HeadSpec, short_text
from featurebank.metrics.group_effects import GroupEffects
from featurebank.runs.comparison import Entry
from featurebank.runs.predictions.draws import ImageGroups
from featurebank.system import digest

TAP, VIEWS, SAMPLE, KIND = "tap", "views", "sample", "kind of head"
LEVEL = 0.05

Key = tuple[str, str]


@dataclass(frozen=True)
class AxisEffect:
    """What one axis of a grid changes."""

    name: str
    """The parameter, with the kind of head that has it."""
    values: tuple[tuple[str, tuple[float, ...]], ...]
    """Each value with the accuracies of the heads that have it, in the order of the values."""
    best: str
    worst: str
    gain: float
    """The mean difference of accuracy between the best and the worst value, over pairs of otherwise equal heads."""
    interval: tuple[float, float] | None
    """95 % interval of the gain over the validation images, which allows for the choice of the two values among all;
    None if the answers for single images are not recorded."""
    pairs: int
    """The number of pairs; 0 for the kind of head, where the best heads of the two kinds are compared."""

    @property
    def matters(self) -> bool:
        """Whether the gain is more than chance."""
        return self.interval is not None and self.interval[0] > 0


def axis_effects(entries: Sequence[Entry]) -> list[AxisEffect]:
    """Returns the effects of all axes, the largest effect beyond chance first.

    Args:
        entries: the heads of one protocol.
    """
    heads = [entry for entry in entries if not entry.runs[0].is_finetune]
    effects = [effect for name in _axes(heads) if (effect := _effect(name, heads)) is not None]
    if (kinds := _kinds(heads)) is not None:
        effects.append(kinds)
    return sorted(effects, key=lambda effect: (not effect.matters, -effect.gain, effect.name))


def _axes(heads: Sequence[Entry]) -> list[Key]:
    """Returns the parameters with several values: (kind of head, name); the kind "" is for those of all heads."""
    texts: dict[Key, set[str]] = {}
    for head in heads:
        for key, value in _coordinates(head.spec).items():
            texts.setdefault(key, set()).add(digest.canonical_json(value))
    return [key for key, values in texts.items() if len(values) > 1]


def _coordinates(spec: HeadSpec) -> dict[Key, Any]:
    own = {(spec.kind, name): value for name, value in spec.shown_params.items()}
    return {("", TAP): spec.tap, ("", VIEWS): spec.views, ("", SAMPLE): spec.sample, **own}


def _effect(axis: Key, heads: Sequence[Entry]) -> AxisEffect | None:
    """Returns the effect of an axis; None if no two heads differ in it alone."""
    cells: dict[str, dict[str, Entry]] = {}
    shown: dict[str, Any] = {}
    for head in heads:
        coordinates = _coordinates(head.spec)
        if axis not in coordinates:
            continue
        value = coordinates.pop(axis)
        text = digest.canonical_json(value)
        shown[text] = value
        rest = digest.canonical_json([head.spec.kind, sorted((str(key), v) for key, v in coordinates.items())])
        cells.setdefault(rest, {})[text] = head
    paired = {rest: row for rest, row in cells.items() if len(row) > 1}
    if not paired:
        return None
    texts = sorted({text for row in paired.values() for text in row}, key=lambda text: _order(shown[text]))
    means = {text: _adjusted(text, paired) for text in texts}
    ranked = sorted(texts, key=lambda text: -means[text])
    best, worst = ranked[0], ranked[-1]
    gain, interval, pairs = _gain(best, worst, paired, len(texts))
    if not pairs:
        return None
    values = tuple(
        (short_text(shown[text]), tuple(row[text].mean for row in paired.values() if text in row)) for text in texts
    )
    name = axis[1] if not axis[0] else f"{axis[1]} of {axis[0]}"
    return AxisEffect(name, values, short_text(shown[best]), short_text(shown[worst]), gain, interval, pairs)


def _adjusted(text: str, rows: Mapping[str, Mapping[str, Entry]]) -> float:
    """Returns the mean difference of a value from the mean of its rows, which differ in how good they are."""
    differences = [
        row[text].mean - np.mean([entry.mean for entry in row.values()]) for row in rows.values() if text in row
    ]
    return float(np.mean(differences))


def _gain(
    best: str, worst: str, rows: Mapping[str, Mapping[str, Entry]], values: int
) -> tuple[float, tuple[float, float] | None, int]:
    """Returns the mean gain between two of several values, its interval, and the number of pairs."""
    pairs = [(row[best], row[worst]) for row in rows.values() if best in row and worst in row]
    if not pairs:
        return 0.0, None, 0
    gain = float(np.mean([one.mean - other.mean for one, other in pairs]))
    differences = [_difference(one, other) for one, other in pairs]
    known = [difference for difference in differences if difference is not None]
    if len(known) < len(pairs) or len({len(difference) for difference in known}) != 1:
        return gain, None, len(pairs)
    repeats = max(_repeats(one) for one, _ in pairs)
    return gain, gain_interval(np.mean(known, axis=0), values, repeats, image_groups(pairs[0][0])), len(pairs)


def gain_interval(
    by_image: np.ndarray, values: int, repeats: int, groups: np.ndarray | None = None
) -> tuple[float, float] | None:
    """Returns the interval of a mean over images, with Bonferroni's correction for the pairs among several values.

    Two images that differ most, one in each direction, are added, as in `statistics.paired_gain`: without them, four
    images that only one of two heads recognises would look like more than chance. An image that is validated once in
    each repetition of the folds counts as one image. With groups, the interval is that of `GroupEffects`,
    no narrower than that of independent images.
    """
    quantile = NormalDist().inv_cdf(1 - LEVEL / (values * (values - 1)))
    most = float(np.abs(by_image).max(initial=0.0))
    adjusted = np.append(by_image, [most, -most])
    half = quantile * float(np.std(adjusted)) / (len(by_image) / repeats + 2) ** 0.5
    mean = float(adjusted.mean())
    if groups is None:
        return mean - half, mean + half
    level = 1 - 2 * LEVEL / (values * (values - 1))
    by_group = GroupEffects.of_values(by_image, groups).interval(level=level)
    return None if by_group is None else (min(mean - half, by_group[0]), max(mean + half, by_group[1]))


def _repeats(entry: Entry) -> int:
    """Returns the number of repetitions of the folds; 1 without folds."""
    return len({run.fold[2] if run.fold else 0 for run in entry.runs})


def _difference(one: Entry, other: Entry) -> np.ndarray | None:
    """Returns how much more often one head is right for each image, (n,); None if that is not recorded."""
    if {run.fold for run in one.runs} != {run.fold for run in other.runs}:
        return None
    shares = right_shares(one), right_shares(other)
    if shares[0] is None or shares[1] is None or len(shares[0]) != len(shares[1]):
        return None
    return np.asarray(shares[0] - shares[1])


def right_shares(entry: Entry) -> np.ndarray | None:
    """Returns the share of a head's runs that classify each validation image correctly; None if not recorded.

    The images of several folds follow each other in the order of the folds.
    """
    by_fold: dict[tuple[int, int], list[np.ndarray]] = {}
    for run in entry.runs:
        right = run.rights()
        if right is None:
            return None
        by_fold.setdefault((run.fold[2], run.fold[0]) if run.fold else (0, 0), []).append(right)
    return np.concatenate([np.mean(by_fold[fold], axis=0) for fold in sorted(by_fold)])


def image_groups(entry: Entry) -> np.ndarray | None:
    """Returns the group of each image of `right_shares`, (n,); None without groups."""
    if entry.groups is None:
        return None
    images, by_fold = ImageGroups(), {}
    for run in entry.runs:
        by_fold[(run.fold[2], run.fold[0]) if run.fold else (0, 0)] = images.of(run)
    known = [codes for _, codes in sorted(by_fold.items(), key=lambda item: item[0]) if codes is not None]
    return np.concatenate(known) if known else None


def _kinds(heads: Sequence[Entry]) -> AxisEffect | None:
    """Returns the effect of the kind of head: the best head of each kind is compared, as one would choose it."""
    best: dict[str, Entry] = {}
    for head in heads:  # best first
        best.setdefault(head.spec.kind, head)
    if len(best) < 2:  # noqa: PLR2004 - two kinds to compare
        return None
    ordered = sorted(best, key=lambda kind: -best[kind].mean)
    first, last = ordered[0], ordered[-1]
    difference = _difference(best[first], best[last])
    values = tuple((kind, tuple(head.mean for head in heads if head.spec.kind == kind)) for kind in ordered)
    parts, repeats = image_groups(best[first]), _repeats(best[first])
    interval = None if difference is None else gain_interval(difference, len(ordered), repeats, parts)
    return AxisEffect(KIND, values, first, last, best[first].mean - best[last].mean, interval, 0)


def _order(value: Any) -> tuple[int, float, str]:
    """Returns the sort key of a value: numbers by size, then texts and lists."""
    if isinstance(value, bool | int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value)
