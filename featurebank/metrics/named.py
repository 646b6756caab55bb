"""Metrics by name, also by names with an argument, such as "recall:daisy"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from featurebank.errors import ConfigError, unknown_name
from featurebank.metrics.costs import content_of, cost_metric, with_digest
from featurebank.metrics.images import ImageScores
from featurebank.metrics.metric import Metric, averaged
from featurebank.metrics.table import METRICS

ALIASES = {"log_loss": "loss", "top5": "top5_accuracy"}
"""Other names of metrics."""


def metric_of(name: str | Metric, classes: Sequence[str] | None = None) -> Metric:
    """Returns a metric.

    Args:
        name: a name in `METRICS`, "log_loss" (the recorded `loss`), "top5", "recall:CLASS" or "cost:FILE.csv"; a metric
            is returned as it is.
        classes: the names of the classes, in the order of the probabilities; names with an argument need them.

    Raises:
        UnknownNameError: there is no metric or no class of this name.
        ConfigError: the file of costs cannot be read or does not fit the classes.

    Example:
        >>> metric_of("log_loss").name, metric_of("recall:cat", ["cat", "dog"]).name
        ('loss', 'recall:cat')
    """
    if isinstance(name, Metric):
        return name
    kind, colon, argument = name.partition(":")
    if colon and kind in WITH_ARGUMENT:
        if classes is None:
            message = f"the metric '{name}' needs the classes of a bank, which are not known here: name the bank"
            raise ConfigError(message)
        return WITH_ARGUMENT[kind](name, argument, classes)
    known = ALIASES.get(name, name)
    if known not in METRICS:
        names = metric_titles()
        raise unknown_name("metric", name, names, where_listed=f"known: {', '.join(names)}")
    return METRICS[known]


def metric_titles() -> list[str]:
    """Returns the names that `metric_of` accepts, with placeholders for their arguments."""
    return [*METRICS, *ALIASES, "recall:CLASS", "cost:FILE.csv"]


def identified(name: str, classes: Sequence[str]) -> str:
    """Returns the name of a metric with the digest of what it reads from a file, for the record of a run.

    A run that depends on a file of costs is another run when the costs change; see `identity`.

    Args:
        name: as for `metric_of`; other names than "cost:FILE.csv" are returned as they are.
        classes: the names of the classes.

    Raises:
        ConfigError: see `metric_of`.
    """
    kind, colon, argument = name.partition(":")
    return f"{kind}:{with_digest(argument, classes)}" if colon and kind == COST else name


def identity(name: str) -> str:
    """Returns what an identified name stands for: equal costs are one metric, whatever the names of their files.

    Example:
        >>> identity("cost:costs.csv#0123456789"), identity("recall:cat")
        ('cost:0123456789', 'recall:cat')
    """
    kind, colon, argument = name.partition(":")
    return f"{kind}:{content_of(argument)}" if colon and kind == COST else name


def recall_metric(name: str, argument: str, classes: Sequence[str]) -> Metric:
    """Returns the recall of one class: the share of its images that are recognised.

    Raises:
        UnknownNameError: there is no such class.
    """
    if argument not in classes:
        raise unknown_name("class", argument, classes, f"the metric is '{name}'")
    place = list(classes).index(argument)

    def per_image(images: ImageScores) -> np.ndarray:
        return np.where(images.labels == place, images.right.astype(float), np.nan)

    return averaged(
        name, per_image, interval="wilson", of_some_images=True, title=f"recall {argument}",
        from_record=lambda scores: (scores.get("recall") or [None] * len(classes))[place],
    )  # fmt: skip


COST = "cost"
WITH_ARGUMENT: dict[str, Callable[[str, str, Sequence[str]], Metric]] = {"recall": recall_metric, COST: cost_metric}
"""The metrics with an argument, by the name before the colon."""
