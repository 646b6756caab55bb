"""What a metric consists of: its value, its direction, and how its uncertainty is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Literal

import numpy as np

from featurebank.metrics.images import ImageScores

PerImage = Callable[[ImageScores], np.ndarray]
"""Returns one value for each image, (n,); NaN for an image that does not count."""
Weighted = Callable[[ImageScores, np.ndarray], np.ndarray]
"""Returns the metric for each of several weightings of the images, (m, n) -> (m,)."""
Scale = Literal["unit", "positive", "plain"]
"""Where the values of a metric lie: between 0 and 1, above 0, or anywhere."""
Recorded = Callable[[Mapping[str, Any]], float | None]


@dataclass(frozen=True)
class Metric:
    """A metric of predictions that runs can be ranked by.

    `name` and `of` are enough. `averaged` and `weighted` make metrics from functions whose bootstrap is faster.

    Args:
        name: its name, as in `--metric`.
        of: computes the metric from the images; NaN where it is not defined, such as the area under the ROC curve of
            images of one class.
        larger_is_better: False for losses and errors.
        interval: how its 95 % interval on the test images is computed. "wilson" is for a fraction of the images, which
            one image changes by 1 / n; such values are compared to the nearest whole image. None for no interval.
        on_training_images: whether it is also computed for training images.
        per_image: the values whose mean the metric is, if it is a mean over images.
        by_weights: computes the metric for images with weights.
        needs_probabilities: whether `of` uses `ImageScores.probabilities`.
        needs_scores: whether it means nothing for a head that says only one class for each image: such heads have
            neither probabilities nor a decision function.
        key: its key among the metrics of a run; default: `name`.
        from_record: computes it from the recorded validation metrics of a run, if these suffice.
        of_some_images: whether only some of the images count, as in the recall of one class.
        title: its name in the columns of tables; default: `name`.
        scale: where its values lie, which decides the form of its interval if images come in groups.
    """

    name: str
    of: Callable[[ImageScores], float]
    larger_is_better: bool = True
    interval: Literal["wilson", "bootstrap"] | None = "bootstrap"
    on_training_images: bool = False
    per_image: PerImage | None = None
    by_weights: Weighted | None = None
    needs_probabilities: bool = False
    needs_scores: bool = False
    key: str = ""
    from_record: Recorded | None = None
    of_some_images: bool = False
    title: str = ""
    scale: Scale = "plain"

    def __post_init__(self) -> None:
        """Fills `key` and `title`."""
        object.__setattr__(self, "key", self.key or self.name)
        object.__setattr__(self, "title", self.title or self.name)

    @property
    def is_share(self) -> bool:
        """Whether it is a fraction of all images."""
        return self.interval == "wilson" and not self.of_some_images

    def goodness(self, value: float) -> float:
        """Returns a value with its sign changed if smaller is better, so that larger is better."""
        return value if self.larger_is_better else -value

    def recorded(self, scores: Mapping[str, Any]) -> float:
        """Returns the metric from the recorded validation metrics of a run; NaN if they do not suffice."""
        value = scores.get(self.key)
        if value is None and self.from_record is not None:
            value = self.from_record(scores)
        return nan if value is None else float(value)

    def is_undefined(self, scores: Mapping[str, Any]) -> bool:
        """Returns whether it is known that the metric is not defined for the validation images of a run.

        So it is with the recall of a class that a fold lacks: its recorded value is None. A metric that is merely not
        recorded is no such case.
        """
        return self.key in scores and scores[self.key] is None

    def can_score(self, images: ImageScores) -> bool:
        """Returns whether the images have what the metric is computed from."""
        return images.probabilities is not None or not self.needs_probabilities


def averaged(name: str, per_image: PerImage, **more: Any) -> Metric:
    """Returns a metric that is the mean of one value for each image."""

    def of(images: ImageScores) -> float:
        values = per_image(images)
        counted = ~np.isnan(values)
        return float(np.mean(values[counted])) if counted.any() else nan

    return Metric(name, of, per_image=per_image, **more)


def weighted(name: str, by_weights: Weighted, **more: Any) -> Metric:
    """Returns a metric that can be computed for images with weights."""

    def of(images: ImageScores) -> float:
        return float(by_weights(images, np.ones((1, len(images))))[0])

    return Metric(name, of, by_weights=by_weights, **more)
