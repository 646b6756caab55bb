"""How uncertain a metric of several runs is: bootstrap values, effects of groups and paired tests.

What is compared are the runs of one specification under one protocol: several seeds, perhaps on several folds. Each
bootstrap sample draws the images of each fold anew, and takes the mean over the seeds and over the folds by their
images. Repetitions of a division into folds use the same images, so each sample uses one of them in turn: repetitions
do not make more images. If the dataset has groups, what each group changes takes the place of the samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.errors import FeatureBankError
from featurebank.metrics import ACCURACY, ImageScores, Metric
from featurebank.metrics.group_effects import GroupEffects
from featurebank.metrics.resampling import Resamples, affordable, counted_units
from featurebank.metrics.significance import difference_p_value
from featurebank.runs.predictions.stored import load_predictions
from featurebank.runs.probabilities import positions_of
from featurebank.runs.run import RunRecord
from featurebank.statistics import mcnemar

SAMPLES = 400
"""The number of bootstrap samples for one specification of a leaderboard."""

Cell = tuple[int, int]
"""Fold and repetition; (0, 0) for the bank's own split."""


def defined(runs: Iterable[RunRecord], metric: Metric) -> list[RunRecord]:
    """Returns the runs without those for whose validation images a metric is not defined."""
    return [run for run in runs if not metric.is_undefined(run.metrics["val"])]


def images_of_run(run: RunRecord, metric: Metric) -> ImageScores | None:
    """Returns the validation images of a run as far as the metric needs them; None if they are not stored."""
    if metric.key == ACCURACY.key and (right := run.rights()) is not None:
        return ImageScores.of_right(right)
    images = load_predictions(run)
    return images if images is not None and metric.can_score(images) else None


@dataclass
class ImageGroups:
    """The groups of the validation images of runs, read from their banks; None for datasets without groups."""

    _banks: dict[Path, Bank | None] = field(default_factory=dict)
    _codes: dict[Any, np.ndarray | None] = field(default_factory=dict)

    def of(self, run: RunRecord) -> np.ndarray | None:
        """Returns the group of each validation image of a run, (n,) int64; None if images are independent."""
        key = run.directory, run.fold
        if key not in self._codes:
            self._codes[key] = self._read(run)
        return self._codes[key]

    def _read(self, run: RunRecord) -> np.ndarray | None:
        bank = self._bank(run.directory)
        codes = getattr(bank, "groups", lambda: None)()
        return None if bank is None or codes is None else np.asarray(codes[positions_of(bank, run, "val")])

    def _bank(self, directory: Path) -> Bank | None:
        if directory not in self._banks:
            try:
                self._banks[directory] = Bank(directory)
            except FeatureBankError:  # records without their bank, such as those of a report: nothing is known
                self._banks[directory] = None
        return self._banks[directory]


@dataclass(frozen=True)
class GroupImages:
    """The validation images of the runs of one specification under one protocol, by one metric."""

    runs: Sequence[RunRecord]
    metric: Metric
    groups: ImageGroups = field(default_factory=ImageGroups)

    @cached_property
    def cells(self) -> Mapping[Cell, Sequence[ImageScores]]:
        """The images of each seed, by fold and repetition; runs without stored predictions are left out."""
        found: dict[Cell, list[ImageScores]] = {}
        for run in self.runs:
            images = images_of_run(run, self.metric)
            if images is not None:
                found.setdefault(_cell(run), []).append(images)
        return found

    @cached_property
    def codes(self) -> Mapping[Cell, np.ndarray | None]:
        """The groups of the images, by fold and repetition."""
        return {_cell(run): self.groups.of(run) for run in self.runs}

    @property
    def is_grouped(self) -> bool:
        """Whether images of one group are not independent."""
        return any(codes is not None for codes in self.codes.values())

    @property
    def test(self) -> str:
        """The name of the paired test, for people; see `p_value`."""
        if self.metric.interval == "wilson" and self.metric.per_image and not self.is_grouped:
            return "McNemar's test"
        return "a paired test of groups" if self.is_grouped else "a paired bootstrap"

    @property
    def units(self) -> int:
        """The number of independent images or groups in one repetition."""
        by_repeat: dict[int, int] = {}
        for cell, images in self.cells.items():
            codes = self.codes[cell]
            units = len(images[0]) if codes is None else len(np.unique(codes))
            by_repeat[cell[1]] = by_repeat.get(cell[1], 0) + units
        return min(by_repeat.values(), default=0)

    @cached_property
    def effects(self) -> GroupEffects | None:
        """What each group changes in the metric; None without groups, or if predictions of a run are missing."""
        if not self.is_grouped or not self.is_whole:
            return None
        repeats = len({repeat for _, repeat in self.cells})
        if self.metric.per_image is not None:
            return GroupEffects.joined(self._effects_on_means(), [1 / repeats] * repeats, repeats)
        sizes = [len(images[0]) for images in self.cells.values()]
        weights = [size / sum(sizes) / len(seeds) for size, seeds in zip(sizes, self.cells.values(), strict=True)]
        parts = [
            (GroupEffects.of(self.metric, images, self._known(cell)), weight)
            for (cell, seeds), weight in zip(self.cells.items(), weights, strict=True)
            for images in seeds
        ]
        often = repeats * len(parts) // len(self.cells)
        return GroupEffects.joined([effects for effects, _ in parts], [weight for _, weight in parts], often)

    def _effects_on_means(self) -> list[GroupEffects]:
        """Returns the effects on the mean over the images of all folds, for each repetition."""
        by_repeat: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        for cell, values in self.shares().items():
            by_repeat.setdefault(cell[1], []).append((values, self._known(cell)))
        return [
            GroupEffects.of_values(*(np.concatenate(column) for column in zip(*rows, strict=True)))
            for rows in by_repeat.values()
        ]

    def _known(self, cell: Cell) -> np.ndarray:
        codes = self.codes[cell]
        assert codes is not None
        return codes

    @property
    def is_whole(self) -> bool:
        """Whether the predictions of all runs are known."""
        return bool(self.runs) and sum(map(len, self.cells.values())) == len(self.runs)

    @cached_property
    def draws(self) -> np.ndarray | None:
        """The metric in each bootstrap sample, (samples,); None if predictions of a run are missing."""
        if not self.is_whole:
            return None
        repeats = sorted({repeat for _, repeat in self.cells})
        rows = [self._repetition(repeat) for repeat in repeats]
        turns = np.arange(len(rows[0])) % len(rows)
        return np.asarray(np.stack(rows)[turns, np.arange(len(turns))])

    def _repetition(self, repeat: int) -> np.ndarray:
        """Returns the metric in each bootstrap sample; of a sample, folds for which it is not defined do not count."""
        total, images = np.zeros(self._samples), np.zeros(self._samples)
        for cell, members in self.cells.items():
            if cell[1] == repeat:
                resamples = Resamples(len(members[0]), None, self._samples, seed=1000 * abs(cell[1]) + cell[0])
                values = np.mean([resamples.values(self.metric, m) for m in members], axis=0)
                known = np.isfinite(values)
                total += len(members[0]) * np.where(known, values, 0.0)
                images += len(members[0]) * known
        return np.asarray(np.divide(total, images, where=images > 0, out=np.full(self._samples, np.nan)))

    @cached_property
    def _samples(self) -> int:
        first = next(iter(self.cells.values()))[0]
        return affordable(self.metric, sum(len(m[0]) for m in self.cells.values()), first.classes, SAMPLES)

    def shares(self) -> Mapping[Cell, np.ndarray]:
        """Returns the mean over the seeds of the value of each image, (n,); NaN for images that do not count."""
        per_image = self.metric.per_image
        assert per_image is not None
        return {cell: np.mean([per_image(images) for images in seeds], axis=0) for cell, seeds in self.cells.items()}

    def counted(self) -> int:
        """Returns the number of independent images or groups in one repetition that a metric counts.

        For the recall of a class, these are the images of this class, or the groups that have such an image.
        """
        if self.metric.per_image is None:
            return self.units
        counts: dict[int, int] = {}
        for cell, values in self.shares().items():
            counts[cell[1]] = counts.get(cell[1], 0) + counted_units(values, self.codes[cell])
        return min(counts.values(), default=0)

    def variance(self) -> float:
        """Returns the variance of the metric between sets of images, or of groups; 0 if it is unknown."""
        if self.is_grouped:
            variance = 0.0 if self.effects is None else self.effects.variance
            return variance if isfinite(variance) else 0.0
        draws = np.empty(0) if self.draws is None else self.draws[np.isfinite(self.draws)]
        return float(np.var(draws)) if len(draws) else 0.0


def p_value(first: GroupImages, other: GroupImages, difference: float) -> float | None:
    """Returns the p-value of the difference between two specifications on the images that both have predicted.

    It is McNemar's for shares of independent images, that of `GroupEffects` for groups, else the paired bootstrap's;
    None if predictions are missing, or if there are too few groups.

    Args:
        first: the first specification.
        other: the other, by the same metric.
        difference: the difference between their means.
    """
    if first.metric.interval == "wilson" and first.metric.per_image and not first.is_grouped:
        return _mcnemar(first.shares(), other.shares())
    if first.is_grouped:
        ours, others = first.effects, other.effects
        if ours is None or others is None or _sizes(first) != _sizes(other):
            return None
        return ours.minus(others).p_value()
    mine, theirs = first.draws, other.draws
    if mine is None or theirs is None or mine.shape != theirs.shape or _sizes(first) != _sizes(other):
        return None
    return difference_p_value(difference, mine - theirs, first.counted())


def _mcnemar(first: Mapping[Cell, np.ndarray], other: Mapping[Cell, np.ndarray]) -> float | None:
    """Returns McNemar's p-value for two specifications on the images that both classified.

    Each image counts once: with several seeds or repetitions, it counts as correct for only one of the two in the
    fraction of pairs of runs in which that is the case.
    """
    discordant: dict[int, list[tuple[float, float]]] = {}
    for cell in first.keys() & other.keys():
        mine, theirs = first[cell], other[cell]
        if len(mine) == len(theirs):
            counts = float(np.nansum(mine * (1 - theirs))), float(np.nansum((1 - mine) * theirs))
            discordant.setdefault(cell[0], []).append(counts)
    if not discordant:
        return None
    ours, others = np.sum([np.mean(counts, axis=0) for counts in discordant.values()], axis=0)
    return mcnemar(float(ours), float(others))


def _sizes(evidence: GroupImages) -> dict[Cell, int]:
    return {cell: len(images[0]) for cell, images in evidence.cells.items()}


def _cell(run: RunRecord) -> Cell:
    return (run.fold[0], run.fold[2]) if run.fold else (0, 0)
