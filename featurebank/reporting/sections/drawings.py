"""The charts of a report: what the sections know, as the plain values that `featurebank.charts` draws."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from featurebank.charts.confusion import reliability as reliability_diagram
from featurebank.charts.image_map import image_map
from featurebank.charts.projection import TSNE_IMAGES, Method, project
from featurebank.charts.runs import HeadPoint, accuracy_against, axis_effects
from featurebank.errors import ConfigError, MissingDependencyError
from featurebank.reporting.content import BoardRow
from featurebank.statistics import CalibrationBins

COSTS: tuple[Literal["seconds", "parameters"], ...] = ("seconds", "parameters")
TITLES: dict[Method, str] = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def by_cost(rows: Sequence[BoardRow]) -> list[tuple[str, Any]]:
    """Draws the accuracy of all heads against their seconds, and against their parameters where these are known."""
    points = [
        HeadPoint(
            row.run, row.head, row.kind, row.accuracy, *row.interval, seconds=row.seconds, parameters=row.parameters,
            tied=row.indistinguishable,
        )
        for row in rows
        if row.accuracy is not None and row.interval is not None
    ]  # fmt: skip
    known = [cost for cost in COSTS if any(getattr(point, cost) is not None for point in points)]
    return [(cost, accuracy_against(points, cost)) for cost in known]


def axis_effect(values: Sequence[tuple[str, Sequence[float]]]) -> Any:
    """Draws the accuracies of the heads with each value of one axis; the page has the name of the axis above it."""
    by_text: dict[str, list[float]] = {}
    for text, accuracies in values:  # numbers that differ in their seventh digit are shown alike
        by_text.setdefault(text, []).extend(accuracies)
    return axis_effects({"": by_text})


def reliability(confidence: np.ndarray, right: np.ndarray) -> Any:
    """Draws how often predictions are right, by their probability.

    Args:
        confidence: (n,) the probability of each predicted class.
        right: (n,) bool.
    """
    bins = CalibrationBins.of(confidence, right)
    return reliability_diagram(bins.confidence.tolist(), bins.accuracy.tolist(), bins.images.tolist(), bins.error)


def image_maps(
    features: np.ndarray, ids: Sequence[str], labels: np.ndarray, classes: Sequence[str], predicted: np.ndarray | None
) -> list[tuple[str, Any]]:
    """Draws the projections of images to the plane; mistakes are marked where there are predictions.

    Beside the principal components, there are t-SNE for as many images as it can take, and UMAP where it is installed,
    which costs some ten seconds of compiling.

    Args:
        features: (n, d) float32.
        ids: the ids of the images.
        labels: (n,) the true classes.
        classes: the names of the classes.
        predicted: (n,) the predicted classes.
    """
    charts = []
    for method in _methods(len(features)):
        try:
            places = project(features, method)
        except (MissingDependencyError, ConfigError):  # umap is broken; features that are not finite
            continue
        charts.append((TITLES[method], image_map(places, ids, labels, classes, predicted=predicted)))
    return charts


def _methods(images: int) -> list[Method]:
    """Returns the projections that are possible for a number of images."""
    methods: list[Method] = ["pca"]
    methods += ["tsne"] if images <= TSNE_IMAGES else []
    return [*methods, "umap"] if has_umap() else methods


def has_umap() -> bool:
    """Returns whether UMAP is installed, without importing it."""
    return importlib.util.find_spec("umap") is not None
