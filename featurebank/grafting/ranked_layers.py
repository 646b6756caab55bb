"""The best runs whose heads can become Keras layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.grafting.head_layers import CAN
from featurebank.grafting.stage import check_layers
from featurebank.runs.run import RunRecord, load_runs
from featurebank.system.progress import SILENT, Reporter


def best_in_layers(bank: Bank, runs: Iterable[RunRecord] | None = None, reporter: Reporter = SILENT) -> RunRecord:
    """Returns the best run whose head can become Keras layers; see `ranked_in_layers`."""
    best: RunRecord = next(ranked_in_layers(bank, runs, reporter))
    return best


def ranked_in_layers(
    bank: Bank, runs: Iterable[RunRecord] | None = None, reporter: Reporter = SILENT
) -> Iterator[RunRecord]:
    """Yields the runs whose heads can become Keras layers, one of each specification, best first.

    Args:
        bank: the bank that the runs were trained on.
        runs: the candidates; default: all runs of the bank.
        reporter: receives one line for each better head that is skipped, with the reason.

    Raises:
        HeadError: no head can become Keras layers, or no run succeeded.
    """
    from featurebank.runs.selection import choose_run

    candidates = load_runs(bank) if runs is None else list(runs)
    first_error: HeadError | None = None
    count = 0
    while True:
        try:
            run = choose_run(candidates)
        except HeadError as error:
            if count:
                return
            raise first_error or error from None
        candidates = [other for other in candidates if other.key != run.key]
        try:
            if not run.is_finetune:
                check_layers(bank, run)
        except HeadError as error:
            reason = str(error).removesuffix(f": {CAN}")
            reporter.say(f"skipping {run.run} ({run.metrics['val']['accuracy']:.4f}): {reason}")
            first_error = first_error or error
        else:
            count += 1
            yield run
