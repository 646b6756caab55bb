"""What the benchmarks share: contestants that take turns, a table with ratios, and the conditions beside it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from featurebank.system.runtime import import_tensorflow, installed_versions, threads


@dataclass
class Contest:
    """Contestants that do the same work in turn, so that a noisy neighbour hurts all alike.

    Args:
        question: what is asked.
        work: how many units one turn does (images, heads).
        unit: what a unit is called.
        baseline: the contestant that the ratios refer to.
    """

    question: str
    work: float
    unit: str
    baseline: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """For one turn, by contestant; already scaled to the whole work."""
    notes: dict[str, str] = field(default_factory=dict)

    def time(self, name: str, act: Callable[[], Any], *, share: float = 1.0, note: str = "") -> Any:
        """Times one turn of a contestant.

        Args:
            name: of the contestant.
            act: the work, or a part of it.
            share: which part of the work `act` does.
            note: shown beside the figures.
        """
        began = time.perf_counter()
        result = act()
        self.seconds.setdefault(name, []).append((time.perf_counter() - began) / share)
        if note:
            self.notes[name] = note
        return result

    def rows(self) -> list[dict[str, Any]]:
        """Returns the figures: seconds, units a second and the ratio of the medians to the baseline."""
        base = statistics.median(self.seconds[self.baseline])
        return [
            {
                "name": name,
                "seconds": {"min": min(s), "median": statistics.median(s), "max": max(s)},
                "per_second": self.work / statistics.median(s),
                "ratio": base / statistics.median(s),
                "note": self.notes.get(name, ""),
            }
            for name, s in self.seconds.items()
        ]


def conditions() -> dict[str, Any]:
    """Returns what the figures depend on beside the code."""
    import numpy as np
    import threadpoolctl

    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    blas = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
    packages = ("featurebank", "tensorflow", "keras", "openvino", "torch", "timm", "numpy", "scikit-learn")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "engine": "tensorflow",
        "precision": "float32",
        "blas": sorted({f"{p['internal_api']} {p.get('architecture', '?')}" for p in blas}),
        "python": platform.python_version(),
        "versions": installed_versions(*packages),
        "load_before": os.getloadavg()[0],
    }


def report(contests: list[Contest], about: Mapping[str, Any], output: Path, extra: Mapping[str, Any]) -> None:
    """Prints the tables and writes everything as JSON."""
    console = Console(width=130, highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), soft_wrap=True)
    for contest in contests:
        table = Table(title=contest.question, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
        for column in ("contestant", "seconds (min / median / max)", f"{contest.unit}/s", "ratio", ""):
            table.add_column(column, justify="left" if column in {"contestant", ""} else "right")
        for row in contest.rows():
            spread = " / ".join(f"{row['seconds'][key]:.2f}" for key in ("min", "median", "max"))
            table.add_row(row["name"], spread, f"{row['per_second']:.1f}", f"{row['ratio']:.2f} x", row["note"])
        console.print(table)
    output.parent.mkdir(parents=True, exist_ok=True)
    results = [{"question": c.question, "unit": c.unit, "work": c.work, "rows": c.rows()} for c in contests]
    value = {"conditions": dict(about), "contests": results, **extra}
    output.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {output}")


def tensorflow() -> Any:
    """Imports TensorFlow, before any clock runs."""
    return import_tensorflow()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
