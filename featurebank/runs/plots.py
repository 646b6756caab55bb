"""The charts of runs: the heads of a leaderboard, curves, and confusions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.charts.confusion import confusion_matrix
from featurebank.charts.history import history
from featurebank.charts.runs import HeadPoint
from featurebank.errors import HeadError
from featurebank.runs.curves import chart_curves, missing_curves
from featurebank.runs.run import RunRecord
from featurebank.system.html import SPLIT_WORDS

if TYPE_CHECKING:
    import altair as alt

    from featurebank.runs.comparison import Entry


def head_points(entries: Iterable[Entry]) -> list[HeadPoint]:
    """Returns the entries of a leaderboard as the points of its charts."""
    return [
        HeadPoint(
            id=entry.runs[0].run, title=f"{entry.spec} on {entry.spec.tap}", kind=entry.spec.kind,
            accuracy=entry.mean, low=entry.interval[0], high=entry.interval[1], seconds=entry.seconds,
            parameters=entry.parameters, tied=entry.indistinguishable,
            settings={**entry.spec.params, "tap": entry.spec.tap, "views": entry.spec.views,
                **({"sample": entry.spec.sample} if entry.spec.sample else {})},
        )
        for entry in entries
    ]  # fmt: skip


class PlottedRun(RunRecord):
    """A run that draws its curves and its confusions."""

    def confusion_matrix(self, split: str = "val") -> Any:
        """Returns the counts of true and predicted classes; its `classes` are their names."""
        raise NotImplementedError

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
