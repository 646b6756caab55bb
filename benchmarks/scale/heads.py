"""Measures heads on features that stay in the bank: seconds a million training rows, and the peak of the memory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.scale.banks import link_bank
from benchmarks.scale.child import measure

HEADS: Mapping[str, Mapping[str, Any]] = {
    "nearest_mean": {"kind": "nearest_mean"},
    "ridge": {"kind": "ridge"},
    "lda": {"kind": "lda"},
    "logistic, 20 iterations": {"kind": "logistic", "max_iter": 20},
    "softmax, one epoch": {"kind": "softmax", "epochs": 1},
    "mlp of 256 units, one epoch": {"kind": "mlp", "hidden_units": [[256]], "epochs": 1},
    "xgboost, one round": {"kind": "xgboost", "n_estimators": 1},
}
MOST_RAM = 500_000_000


def measured_heads(bank: Path, directory: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Trains each head once, in a process of its own, with a `--ram` that is too small for the features.

    Args:
        bank: a made bank, which is not changed.
        directory: where a second bank of hard links is made, on the same disk.
        quick: whether only the first three are measured.

    Returns:
        For each: `head`, `rows`, `width`, `threads`, `ram`, `seconds_a_million`, `processor_seconds` (with the
        evaluation), `accuracy`, `peak_bytes`, what was said (`notes`), and `failure`.
    """
    results = []
    for name in list(HEADS)[: 3 if quick else None]:
        twin = directory / bank.name
        link_bank(bank, twin)
        results.append({"head": name, **measure("heads:train_head", bank=str(twin), head=dict(HEADS[name]))})
        shutil.rmtree(twin)
    return results


def train_head(bank: str, head: dict[str, Any]) -> dict[str, Any]:
    """Trains a head on a bank with a `--ram` that is too small for its training features beside others."""
    import featurebank as fb
    from featurebank.system.progress import Reporter
    from featurebank.system.runtime import threads

    opened = fb.Bank(bank)
    rows, (width,) = len(opened.labels("train")), opened.tap_shape(opened.taps[0])
    share, most = (2.3, 4 * MOST_RAM) if head["kind"] == "xgboost" else (1 / 3, MOST_RAM)  # it holds rows x classes
    ram = int(min(most, max(share * rows * width * 4, 1_000_000)))
    fb.set_ram(ram)
    notes: list[str] = []

    class Notes(Reporter):
        """Keeps what is said."""

        def say(self, line: str) -> None:
            notes.append(line)

        def warn(self, line: str, kind: type[Warning] | None = None) -> None:
            notes.append(line)

    began = time.process_time()
    try:
        (run,) = fb.train_heads(opened, [head], reporter=Notes())
        record: dict[str, Any] = run.record()
    except fb.FeatureBankError as error:
        record = {"seconds": 0.0, "failure": str(error), "metrics": {}}
    return {
        "rows": rows, "width": width, "classes": len(opened.classes), "threads": threads(), "ram": ram, "notes": notes,
        "seconds": record["seconds"], "processor_seconds": time.process_time() - began,
        "seconds_a_million": record["seconds"] / rows * 1e6, "failure": record["failure"],
        "accuracy": record["metrics"].get("val", {}).get("accuracy"),
    }  # fmt: skip
