"""Checks that workers can train the heads of a grid, before they get work."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from featurebank.cluster.checks import Probe, WorkerReport, describe_worker, read_report
from featurebank.cluster.client import Cluster, ClusterWorker
from featurebank.errors import FeatureBankError
from featurebank.fitting.spec import HeadSpec
from featurebank.words import one_line


@dataclass(frozen=True)
class HeadAdmission:
    """Checks that workers see the bank and can make the heads of the grid."""

    cluster: Cluster
    probe: Probe
    heads: Sequence[HeadSpec]

    def ask(self, worker: ClusterWorker) -> Any:
        """Asks a worker to describe itself; returns a future."""
        return self.cluster.submit(describe_for_heads, self.probe, self.heads, worker=worker)

    def report(self, worker: ClusterWorker, future: Any) -> WorkerReport | None:
        """Returns the report of a worker whose future is done; None if the worker has died."""
        return read_report(self.cluster, worker, future, patience=0)


def describe_for_heads(probe: Probe, heads: Sequence[HeadSpec]) -> dict[str, Any]:
    """Runs on a worker before its first slice: does the work of `describe_worker`, and makes one head of each kind.

    Args:
        probe: see `describe_worker`.
        heads: one specification of each kind in the grid.
    """
    described = describe_worker(probe)
    if not described["problem"]:
        described["problem"] = "; ".join(_problems(heads))
    return described


def _problems(heads: Sequence[HeadSpec]) -> Iterator[str]:
    for spec in heads:
        try:
            spec.make(0)
        except FeatureBankError as error:
            yield (
                f"host {socket.gethostname()}: {one_line(str(error), 300)}; install there what the head needs, and put "
                "modules of your own on the PYTHONPATH of its workers"
            )
