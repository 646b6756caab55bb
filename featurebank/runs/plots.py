"""What follows from the predictions of runs: charts of leaderboards, curves and confusions, doubts, and gains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from featurebank.bank import Bank
from featurebank.certainty.measured import COVERAGES, ERRORS, MeasuredCertainty
from featurebank.charts.confusion import confusion_matrix
from featurebank.charts.history import history
from featurebank.charts.runs import HeadPoint
from featurebank.errors import HeadError
from featurebank.metrics import ACCURACY, ImageScores, Metric, metric_of
from featurebank.metrics.gains import PairedGain
from featurebank.runs.costs.table import Cost, CostTable
from featurebank.runs.curves import chart_curves, missing_curves
from featurebank.runs.doubts import LabelledAnswers, measured_on, plot_certainty
from featurebank.runs.gains import run_gain
from featurebank.runs.probabilities import positions_of
from featurebank.runs.run import RunRecord
from featurebank.system.html import SPLIT_WORDS

if TYPE_CHECKING:
    import altair as alt

    from featurebank.runs.comparison import Entry


def head_points(entries: Iterable[Entry]) -> list[HeadPoint]:
    """Returns the entries of a leaderboard as the points of its charts; of several banks, each has a colour."""
    entries = list(entries)
    costs = CostTable([entry.runs[0] for entry in entries])
    several = costs.has_several_banks
    labels = [costs.labels[entry.runs[0].directory] if several else "" for entry in entries]
    return [
        HeadPoint(
            id=entry.runs[0].run, title=f"{entry.spec} on {entry.spec.tap}{f' of {label}' if label else ''}",
            kind=entry.spec.kind, group=label, costs=_named_costs(costs.of(entry.runs[0])),
            accuracy=entry.mean, low=entry.interval[0], high=entry.interval[1], seconds=entry.seconds,
            parameters=entry.parameters, tied=entry.indistinguishable,
            settings={**entry.spec.shown_params, "tap": entry.spec.tap, "views": entry.spec.views,
                **({"sample": entry.spec.sample} if entry.spec.sample else {})},
        )
        for entry, label in zip(entries, labels, strict=True)
    ]  # fmt: skip


def _named_costs(cost: Cost) -> dict[str, float | None]:
    return {
        "seconds an image": cost.seconds_per_image, "bytes an image": cost.bytes_per_image,
        "images a second": cost.images_per_second,
    }  # fmt: skip


class PlottedRun(RunRecord):
    """A run that draws its curves, its confusions and its doubts, and is compared with others."""

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """Returns a record as a run."""
        raise NotImplementedError

    def confusion_matrix(self, split: str = "val") -> Any:
        """Returns the counts of true and predicted classes; its `classes` are their names."""
        raise NotImplementedError

    def predictions(self, split: str = "val") -> Any:
        """Returns the predictions for a split: `targets` and `probabilities`."""
        raise NotImplementedError

    def gain_over(self, other: RunRecord, metric: str | Metric = ACCURACY) -> PairedGain | None:
        """Returns how much better this run is than another one on the validation images, which both have predicted.

        The interval and the test are paired: images that are easy or hard for both cancel out, so that a difference
        may be certain although the intervals of both runs overlap. The interval does not know how many runs were
        compared before these two were chosen; the tests of `Leaderboard.entries` allow for that.

        Args:
            other: a run of the same bank, or of another bank of the same images.
            metric: the metric of the gain, as in `select`.

        Returns:
            The difference from the other run, its 95 % interval and its p-value. Below 0 this run is worse; of a loss
            it is better. None if the metric is not defined, or if there are too few groups of images.

        Raises:
            ConfigError: the runs were validated on different images.
            UnknownNameError: there is no such metric.
            HeadError: a run failed, or belongs to an older state of its bank; see `load` for a run whose predictions
                are not stored.

        Example:
            >>> best, second = fb.train_heads(bank, ["ridge", "nearest_mean"])
            >>> gain = best.gain_over(second)
            >>> round(gain.difference, 3), gain.low < 0 < gain.high
            (0.067, True)
        """
        by = metric_of(metric, Bank(self.directory).classes)
        return run_gain(self, other, by, lambda run: _validation_scores(self.of(run)))

    def certainty(
        self, split: str = "val", *, coverages: Sequence[float] = COVERAGES, errors: Sequence[float] = ERRORS
    ) -> MeasuredCertainty:
        """Returns how well sets of classes and abstention work: coverage and size, share answered and error.

        Args:
            split: "test", with the calibration of the validation images, for a run that `evaluate_test` returned;
                "val" for cross-fitting on the validation images: each tenth with the calibration of the others.
            coverages: how often the true class is to be in the set.
            errors: the errors among the answered images.

        Raises:
            ConfigError: the split is another one, the test images are still closed, or there are too few images.
            DatasetError, HeadError: see `predictions`.

        Example:
            >>> run.certainty(coverages=[0.9], errors=[0.2])
            <MeasuredCertainty of 30 images by cross-fitting on validation images: coverage 0.9: ...>
        """
        bank = Bank(self.directory)

        def answers(part: str) -> LabelledAnswers:
            table = self.predictions(part)
            return positions_of(bank, self, part), table.targets, table.probabilities

        return measured_on(bank, split, answers, coverages=coverages, errors=errors)

    def plot_certainty(self, split: str = "val") -> alt.LayerChart:
        """Returns the error among the answered images against the share answered.

        Args:
            split: see `certainty`, also for errors.

        Returns:
            An Altair chart.

        Example:
            >>> run.plot_certainty().layer[0].mark.type
            'line'
        """
        return plot_certainty(self.certainty(split), f"error against the share answered, run {self.run}")

    def plot_history(self) -> alt.HConcatChart:
        """Returns accuracy and loss by epoch, training beside validation; the best epoch and over-fitting are marked.

        Returns:
            An Altair chart of two panels.

        Raises:
            HeadError: the head is not trained in epochs, or its training failed.

        Example:
            >>> run = fb.train_heads(bank, {"kind": "softmax", "epochs": 3})[0]
            >>> [panel.title.text for panel in run.plot_history().hconcat]
            ['accuracy', 'loss']
        """
        if reason := missing_curves(self):
            raise HeadError(reason)
        name = f"{self.spec} on {self.tap}, run {self.run}"
        return history({name: chart_curves(self)}, title=name)

    def plot_confusion(self, split: str = "val") -> alt.LayerChart:
        """Returns which classes are taken for which: a heat map; of more than 30 classes, the top confusions.

        Args:
            split: "train", "val", or "test" for a run that `evaluate_test` returned; see `predictions` for errors.

        Returns:
            An Altair chart.

        Example:
            >>> run.plot_confusion().layer[0].mark.type
            'rect'
        """
        matrix = self.confusion_matrix(split)
        right = int(np.trace(matrix.counts))
        title = f"{right} of {int(np.sum(matrix.counts))} {SPLIT_WORDS[split]} images are right, run {self.run}"
        return confusion_matrix(matrix.counts, matrix.classes, title=title)


def _validation_scores(run: PlottedRun) -> ImageScores:
    table = run.predictions()
    return ImageScores.of(table.probabilities, table.targets)
