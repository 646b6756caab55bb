"""Heads fitted on a bank, in one call."""

from __future__ import annotations

from typing import Any

from featurebank.bank import Bank
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.spec import HeadSpec


def fit(bank: Bank, *specs: tuple[str, dict[str, Any]], seed: int = 0) -> list[Fitted]:
    """Fits heads on the tap "pooled"; returns their results in the order of the specifications."""
    found: dict[int, Fitted] = {}
    wanted = [(HeadSpec(kind, params), seed) for kind, params in specs]
    fit_heads(wanted, TrainingData.of(bank, "pooled"), lambda position, fitted: found.update({position: fitted}))
    return [found[position] for position in range(len(specs))]
