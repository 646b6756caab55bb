"""The tables of an `Advice`: columns and rows of plain values, for data frames, JSON and CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featurebank.advice.learning_curve import Forecast
    from featurebank.advice.result import Advice


def _label_errors(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (one.image.id, one.image.label, one.suggested, round(one.belief, 4), round(one.probability, 4),
         one.image.split, one.is_doubted)
        for one in advice.label_errors
    ]  # fmt: skip


def _conflicts(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (a.id, a.label, a.split, b.id, b.label, b.split, round(one.cosine, 6), one.are_equal)
        for one in advice.conflicts for a, b in [(one.first, one.second)]
    ]  # fmt: skip


def _outliers(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (one.image.id, one.image.label, one.image.split, *(round(x, 4) for x in (one.distance, one.own, one.others)))
        for one in advice.outliers
    ]


def _confusions(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (one.first, one.second, one.images, one.first_as_second, one.second_as_first, round(one.share, 4),
         *(round(end, 4) for end in one.interval), round(one.separation, 4), one.cannot_be_separated)
        for one in advice.confusions
    ]  # fmt: skip


def _curve(advice: Advice) -> list[tuple[Any, ...]]:
    curve = advice.curve
    if curve is None:
        return []
    columns = (curve.sizes.tolist(), curve.errors.tolist(), curve.deviations.tolist())
    return [(size, round(error, 5), round(spread, 5)) for size, error, spread in zip(*columns, strict=True)]


def _forecasts(advice: Advice) -> list[tuple[Any, ...]]:
    return [_forecast_row(one) for one in advice.forecasts]


def _forecast_row(one: Forecast) -> tuple[Any, ...]:
    numbers = (one.error, *one.interval, one.gain, *one.gain_interval)
    return (one.images, one.more, *(round(number, 5) for number in numbers))


def _classes(advice: Advice) -> list[tuple[Any, ...]]:
    return [(one.label, one.images, round(one.error, 5), *_forecast_row(one.forecast)[1:])
            for one in advice.class_forecasts]  # fmt: skip


def _queue(advice: Advice) -> list[tuple[Any, ...]]:
    queue = advice.labelling.queue if advice.labelling else ()
    return [(one.path, "", round(one.margin, 4), one.predicted, one.group) for one in queue]


_FORECAST = ("more", "error", "error_low", "error_high", "gain", "gain_low", "gain_high")
TABLES: Mapping[str, tuple[tuple[str, ...], Callable[[Advice], list[tuple[Any, ...]]]]] = {
    "label_errors": (("path", "label", "suggested", "belief", "probability", "split", "doubted"), _label_errors),
    "conflicts": (
        ("path", "label", "split", "other_path", "other_label", "other_split", "cosine", "equal"), _conflicts
    ),
    "outliers": (("path", "label", "split", "distance", "own", "others"), _outliers),
    "confusions": (
        ("first", "second", "images", "first_as_second", "second_as_first", "share", "share_low", "share_high",
         "separation", "inseparable"), _confusions,
    ),
    "curve": (("images", "error", "deviation"), _curve),
    "forecasts": (("images", *_FORECAST), _forecasts),
    "classes": (("label", "images", "error_now", *_FORECAST), _classes),
    "queue": (("path", "label", "margin", "predicted", "group"), _queue),
}  # fmt: skip
"""The columns and the rows of each table."""


def plain(value: Any) -> Any:
    """Returns a value of JSON; NaN becomes None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_names() -> Sequence[str]:
    """Returns the names of the tables of an `Advice`.

    Example:
        >>> table_names()[:2]
        ('label_errors', 'conflicts')
    """
    return tuple(TABLES)
