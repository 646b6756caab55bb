"""Every chart, of plain values, with the names that strangers give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.charts.confusion import CELLS, confusion_matrix, reliability
from featurebank.charts.history import history
from featurebank.charts.image_map import image_map
from featurebank.charts.runs import HeadPoint, accuracy_against, axes_of, axis_effects

HOSTILE = (
    "<script>alert('x')</script>", "\"quoted\" 'twice'", "datum['x']", "a.b[0]", "[brackets]", "back\\slash",
    "flower 🌼", "وردة", "x" * 200, "</script><b>", "datum.label", "%3Cimg%20src=x%3E", "{{7*7}}", "a\nb",
)  # fmt: skip
CURVES = {
    "loss": [1.0, 0.6, 0.4, 0.3, 0.2, 0.1], "val_loss": [1.1, 0.7, 0.9, 1.0, 1.2, 1.3],
    "accuracy": [0.4, 0.7, 0.8, 0.9, 0.95, 1.0], "val_accuracy": [0.4, 0.6, 0.7, 0.7, 0.6, 0.6], "best_epoch": 2,
}  # fmt: skip
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def head_points(names: Sequence[str]) -> list[HeadPoint]:
    """Returns a head of each name; the first cannot be told apart from the best, and the last has no parameters."""
    last = len(names) - 1
    return [
        HeadPoint(
            f"{place:010d}", f"{name} C=1 on pooled", name, 0.85 + place / 100, 0.8, 0.9, 10.0 ** (place % 4 - 2),
            None if place == last else 10.0 ** (place % 6), {"C": 1, "tap": ("pooled", "map")[place % 2]}, place == 0,
        )
        for place, name in enumerate(names)
    ]  # fmt: skip


def sample_charts(names: tuple[str, ...] = HOSTILE) -> dict[str, Any]:
    """Returns each chart by its name, with classes, runs or images of some names."""
    count = len(names)
    many = [f"{name} {number}" for number in range(CELLS // count + 1) for name in names]
    counts = np.random.default_rng(0).integers(0, 3, (len(many), len(many)))
    places = np.random.default_rng(0).normal(0, 1, (count, 2))
    points, labels = head_points(names), list(range(count))
    return {
        "history": history({names[0]: {**CURVES, "phase": [1, 1, 1, 2, 2, 2]}}),
        "histories": history(dict.fromkeys(names, CURVES)),
        "gaps": history({names[0]: {"loss": [1e6, float("nan"), 1e-3]}, names[1]: {"val_loss": [float("inf")]}}),
        "seconds": accuracy_against(points),
        "parameters": accuracy_against(points, "parameters", title=names[0]),
        "axes": axis_effects(axes_of(points) | {name: {other: [0.5, 0.7] for other in names} for name in names[:1]}),
        "matrix": confusion_matrix(counts[:count, :count], names),
        "confusions": confusion_matrix(counts, many),
        "reliability": reliability([0.5, 0.9], [0.4, 0.95], [10, 30], 0.06),
        "map": image_map(places, names, labels, names, predicted=[0] * count, images=[PIXEL] * count),
    }
