"""Admits workers to an extraction: those that compute the same features from the same images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.cluster.checks import Probe, WorkerReport, read_answer
from featurebank.cluster.client import Cluster, ClusterWorker
from featurebank.cluster.worker import PieceOrder, Values, prepare
from featurebank.dataset import Dataset
from featurebank.errors import BackboneWarning
from featurebank.system.progress import Reporter

AGREEMENT = {"float32": 1e-4, "bfloat16": 1e-2}
"""Largest difference of two workers' features by precision, relative to the largest feature."""


@dataclass
class PieceAdmission:
    """Lets workers compute pieces if they have the client's featurebank, files, images and networks.

    The features of the first worker are the reference: the others' must agree with them, whatever their engine is.
    """

    cluster: Cluster
    probe: Probe
    order: PieceOrder
    sample: Dataset
    reporter: Reporter
    _reference: tuple[WorkerReport, Values] | None = None

    def ask(self, worker: ClusterWorker) -> Any:
        """Asks a worker to build the networks and to describe itself."""
        return self.cluster.submit(prepare, self.probe, self.order, self.sample, worker=worker)

    def report(self, worker: ClusterWorker, future: Any) -> WorkerReport | None:
        """Returns the report of a worker; one whose features differ cannot be used."""
        answer = read_answer(self.cluster, worker, future, patience=0)
        if answer is None:
            return None
        values: Values = answer.pop("values", {})
        report = WorkerReport(worker, **answer)
        if report.problem:
            return report
        if self._reference is None:
            self._reference = report, values
        first, reference = self._reference
        if report.engine != first.engine:
            self.reporter.warn(
                f"worker {worker} computes with {report.engine}, and {first.worker} with {first.engine}: features "
                f"agree within {AGREEMENT[self.order.options.precision]:g} of the largest, or the worker is refused",
                BackboneWarning,
            )
        problem = self._difference(report, values, first, reference)
        return dataclasses.replace(report, problem=problem)

    def _difference(self, report: WorkerReport, values: Values, first: WorkerReport, reference: Values) -> str:
        worst = max((relative_difference(values[key], reference[key]) for key in reference), default=0.0)
        most = AGREEMENT[self.order.options.precision]
        if worst <= most:
            return ""
        versions = [
            ", ".join(f"{name} {one.packages.get(name, 'missing')}" for name in _differing(report, first))
            for one in (report, first)
        ]
        packages = f" (it has {versions[0]}; the other {versions[1]})" if versions[0] else ""
        return (
            f"its engine {report.engine} computes other features than {first.engine} on {first.worker}: they differ by "
            f"{worst:.1g} of the largest, expected {most:g} at most{packages}; use the same versions on all machines, "
            "or choose an --engine"
        )


def _differing(one: WorkerReport, other: WorkerReport) -> list[str]:
    """Returns the packages of which two workers have different versions."""
    names = sorted({*one.packages, *other.packages})
    return [name for name in names if one.packages.get(name) != other.packages.get(name)]


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the largest difference of two sets of features, (n, d), relative to the largest feature of a row."""
    if one.shape != other.shape:
        return float("inf")
    scale = np.maximum(np.abs(other).max(axis=1), np.finfo(np.float32).tiny)
    return float((np.abs(one - other).max(axis=1) / scale).max())
