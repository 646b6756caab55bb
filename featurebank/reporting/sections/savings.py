"""Gathers what one extraction saved: measured seconds against as many passes of the network as heads were trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.reporting.content import Conclusion, Fact, Savings
from featurebank.reporting.evidence import Evidence, heads_of
from featurebank.reporting.sections.wording_data import break_even, duration_in_words, savings
from featurebank.runs.run import RunRecord
from featurebank.words import duration


def extraction_seconds(bank: Bank) -> float | None:
    """Returns the measured time of all extractions that computed rows of a bank; None if none was measured.

    Rows that other banks shared cost nothing here, so that their time is not known.
    """
    seconds = [
        float(event["seconds"])
        for event in bank.manifest.history
        if event.get("computed", event.get("added")) and "seconds" in event
    ]
    return sum(seconds) if seconds else None


def passes_of(run: RunRecord) -> int:
    """Returns how often a run used the features: once for each epoch that it was trained, or once without epochs."""
    history: Mapping[str, Any] = run.history or {}
    curve = history.get("loss") or history.get("val_loss") or ()
    return max(1, len(curve) if isinstance(curve, list) else 0)


def gather_savings(evidence: Evidence) -> Savings:
    """Returns what the extraction saved. Fine-tunes are left out: they run the network themselves."""
    runs = [run for run in evidence.runs if not (run.failure or run.is_finetune)]
    seconds, heads = extraction_seconds(evidence.bank), len(runs)
    passes, training = round(sum(map(passes_of, runs)) * _share_read(evidence.bank)), training_seconds(runs)
    facts = [Fact("trained heads, with seeds and folds", str(heads)), Fact("different heads", str(heads_of(runs)))]
    if seconds is not None:
        facts = [
            Fact("one pass of the network over all images", f"{duration(seconds)} (measured)"),
            *facts,
            Fact("training of all heads together", duration(training)),
            Fact("with a pass for each head", duration_in_words(heads * seconds)),
            *([Fact("with a pass in each epoch", duration_in_words(passes * seconds))] if passes > heads else []),
            Fact("worth its time from", break_even(seconds, heads)),
        ]
    sentence = savings(seconds, heads, passes, training)
    return Savings(Conclusion("What the bank saved", sentence), facts)


def _share_read(bank: Bank) -> float:
    """Returns the share of the images that are read in each epoch: those for training and validation."""
    return len(positions_in(bank, "train", "val")) / max(1, len(bank))


def training_seconds(runs: Iterable[RunRecord]) -> float:
    """Returns the time of the training of some runs."""
    return sum(run.seconds for run in runs)
