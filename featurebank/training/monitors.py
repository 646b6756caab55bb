"""What early stopping and plateaus look at after each epoch: the loss, the accuracy, or any metric.

The programs compute loss and accuracy. All other metrics are computed from the probabilities of the validation images,
which a program then returns, too, for all its heads at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from featurebank.metrics import METRICS, ImageScores, Metric, metric_of, metric_titles
from featurebank.metrics.named import ALIASES, WITH_ARGUMENT, identified, identity
from featurebank.system.validation import ParameterCheck

LOSS, ACCURACY = "val_loss", "val_accuracy"
COMPUTED = (LOSS, ACCURACY)
"""The monitors that a program computes itself."""
_PREFIX = "val_"
MONITOR = "monitor"
"""The name of the parameter."""


class HeldOutPredictions(NamedTuple):
    """The validation images as the heads of a program predict them."""

    probabilities: np.ndarray
    """(K, n, classes) float32."""
    labels: np.ndarray
    """(n,) positions in `classes`."""
    classes: np.ndarray
    """(classes,) labels in ascending order."""


_class_names: ContextVar[Sequence[str] | None] = ContextVar("class_names", default=None)


@contextlib.contextmanager
def named_classes(names: Sequence[str] | None) -> Iterator[None]:
    """Says inside the block that labels are positions in a list of names; None, that labels are names themselves."""
    token = _class_names.set(names)
    try:
        yield
    finally:
        _class_names.reset(token)


def metric_name(monitor: str) -> str:
    """Returns the name of the metric of a monitor.

    Example:
        >>> metric_name("val_auroc"), metric_name("val_recall:cat"), metric_name("val_loss")
        ('auroc', 'recall:cat', 'loss')
    """
    return monitor.removeprefix(_PREFIX)


def monitor_of(metric: str) -> str:
    """Returns the monitor of a metric.

    Example:
        >>> monitor_of("auroc"), monitor_of("log_loss")
        ('val_auroc', 'val_loss')
    """
    return LOSS if metric == "log_loss" else f"{_PREFIX}{metric}"


def identified_monitor(params: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Returns the parameters of a head or a fine-tune, whose monitor has the digest of its costs, if it reads any.

    Args:
        params: the parameters.
        classes: the names of the classes.

    Raises:
        ConfigError: the file of costs cannot be read or does not fit the classes.
    """
    return _with_name(params, lambda name: identified(name, classes))


def params_identity(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters as what identifies a run: of a file of costs, its content instead of its name.

    Example:
        >>> params_identity({"epochs": 3, "monitor": "val_cost:costs.csv#0123456789"})
        {'epochs': 3, 'monitor': 'val_cost:0123456789'}
    """
    return _with_name(params, identity)


def _with_name(params: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Returns parameters with another name of the metric of their monitor."""
    monitor = params.get(MONITOR)
    if not isinstance(monitor, str) or not monitor.startswith(_PREFIX):
        return dict(params)
    return {**params, MONITOR: f"{_PREFIX}{change(metric_name(monitor))}"}


def monitor_check(value: Any) -> ParameterCheck:
    """Checks for a monitor; whether a class or a file of costs exists is checked when the classes are known."""
    name = value.removeprefix(_PREFIX) if isinstance(value, str) and value.startswith(_PREFIX) else ""
    kind, colon, argument = name.partition(":")
    holds = name in {*METRICS, *ALIASES} or bool(colon and argument and kind in WITH_ARGUMENT)
    expected = f"{', '.join(COMPUTED)}, or val_ and a metric, as one of {', '.join(metric_titles())}"
    return ParameterCheck("monitor", value, expected, holds)


def monitored_metric(monitor: str, classes: Sequence[Any]) -> Metric:
    """Returns the metric of a monitor.

    Args:
        monitor: a valid monitor that a program does not compute itself.
        classes: the labels that a head knows; `named_classes` may name them and others.

    Raises:
        UnknownNameError, ConfigError: see `metric_of`.
    """
    names = _class_names.get()
    return metric_of(metric_name(monitor), [str(label) for label in classes] if names is None else names)


def monitored_value(metric: Metric, probabilities: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> float:
    """Returns the metric of one head, as its run will record it; NaN if it is not defined.

    Args:
        metric: of `monitored_metric`.
        probabilities: (n, classes).
        labels: (n,) positions in `classes`.
        classes: (classes,) the labels that the head knows.
    """
    if not np.isfinite(probabilities).all():
        return float("nan")
    if (names := _class_names.get()) is not None:
        aligned = np.zeros((len(probabilities), len(names)), probabilities.dtype)
        aligned[:, classes] = probabilities
        probabilities, labels = aligned, classes[labels]
    return metric.of(ImageScores.of(probabilities, labels))


def in_places(
    parts: Sequence[np.ndarray], rows: Sequence[np.ndarray], labels: np.ndarray, classes: np.ndarray
) -> HeldOutPredictions:
    """Returns the predictions of batches.

    Args:
        parts: (K, b, classes) for each batch.
        rows: (b,) the positions of its images.
        labels: (n,) of all images.
        classes: (classes,) labels.
    """
    found = np.empty((len(parts[0]), len(labels), len(classes)), np.float32)
    for batch, part in zip(rows, parts, strict=True):
        found[:, batch] = part
    return HeldOutPredictions(found, labels, classes)
