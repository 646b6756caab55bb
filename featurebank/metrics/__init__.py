"""Metrics of predictions, with their confidence intervals and paired tests.

`table.METRICS` is the table of the metrics: one entry makes a metric usable wherever runs are scored, ranked and
stopped. `named.metric_of` also resolves names with an argument, such as "recall:daisy" and "cost:FILE.csv". `images`
has what is known of each image, `metric` what a metric consists of, `formulas` those that are no means over images,
`resampling` their bootstrap, and `significance` intervals and paired tests. Open `table` first.
"""

from __future__ import annotations

from featurebank.metrics.images import SMALLEST, ImageScores, pack, unpack
from featurebank.metrics.metric import Metric
from featurebank.metrics.named import metric_of, metric_titles
from featurebank.metrics.scores import (
    accuracy,
    confusion_counts,
    confusions,
    log_loss,
    macro_f1,
    recalls,
    scores,
    scores_with_intervals,
    short_scores,
)
from featurebank.metrics.table import ACCURACY, METRICS

__all__ = [
    "ACCURACY", "METRICS", "SMALLEST", "ImageScores", "Metric", "accuracy", "confusion_counts", "confusions",
    "log_loss", "macro_f1", "metric_of", "metric_titles", "pack", "recalls", "scores", "scores_with_intervals",
    "short_scores", "unpack",
]  # fmt: skip
