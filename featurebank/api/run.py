"""The public form of a run."""

from __future__ import annotations

from featurebank.runs.run import RunRecord


class Run(RunRecord):
    """One trained head: its specification, its training and its metrics."""
