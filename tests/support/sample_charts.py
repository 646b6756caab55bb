"""Every chart, of plain values, with the names that strangers give."""

from __future__ import annotations

from typing import Any

from featurebank.charts.history import history

HOSTILE = (
    "<script>alert('x')</script>", "\"quoted\" 'twice'", "datum['x']", "a.b[0]", "[brackets]", "back\\slash",
    "flower 🌼", "وردة", "x" * 200, "</script><b>", "datum.label", "%3Cimg%20src=x%3E", "{{7*7}}", "a\nb",
)  # fmt: skip
CURVES = {
    "loss": [1.0, 0.6, 0.4, 0.3, 0.2, 0.1], "val_loss": [1.1, 0.7, 0.9, 1.0, 1.2, 1.3],
    "accuracy": [0.4, 0.7, 0.8, 0.9, 0.95, 1.0], "val_accuracy": [0.4, 0.6, 0.7, 0.7, 0.6, 0.6], "best_epoch": 2,
}  # fmt: skip


def sample_charts(names: tuple[str, ...] = HOSTILE) -> dict[str, Any]:
    """Returns each chart by its name, with classes, runs or images of some names."""
    return {
        "history": history({names[0]: {**CURVES, "phase": [1, 1, 1, 2, 2, 2]}}),
        "histories": history(dict.fromkeys(names, CURVES)),
    }
