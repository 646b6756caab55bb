"""The best runs whose heads can become Keras layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featurebank.backbone.network import FORMS
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.grafting.head_layers import CAN
from featurebank.grafting.stage import check_layers
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.run import RunRecord
from featurebank.runs.several import Banks, as_list, bank_of, runs_of
from featurebank.system.progress import SILENT, Reporter


def best_in_layers(
    banks: Banks, runs: Iterable[RunRecord] | None = None, reporter: Reporter = SILENT, *, metric: Metric = ACCURACY
) -> RunRecord:
    """Returns the best run whose head can become Keras layers; see `ranked_in_layers`."""
    best: RunRecord = next(ranked_in_layers(banks, runs, reporter, metric=metric))
    return best


def ranked_in_layers(
    banks: Banks, runs: Iterable[RunRecord] | None = None, reporter: Reporter = SILENT, *, metric: Metric = ACCURACY
) -> Iterator[RunRecord]:
    """Yields the runs whose heads can become Keras layers, one of each specification, best first.

    Args:
        banks: the bank that the runs were trained on, or several. Of several, those whose network is not one of Keras
            are skipped.
        runs: the candidates; default: all runs of the banks.
        reporter: receives one line for each better head that is skipped, with the reason.
        metric: what decides which run is better.

    Raises:
        HeadError: no head can become Keras layers, or no run succeeded.
    """
    from featurebank.runs.predictions.scoring import scored
    from featurebank.runs.selection import choose_run

    candidates = scored(runs_of(banks) if runs is None else runs, metric, reporter)
    first_error: HeadError | None = None
    count, several = 0, len(as_list(banks)) > 1
    while True:
        try:
            run = choose_run(candidates, metric=metric)
        except HeadError as error:
            if count:
                return
            raise first_error or error from None
        candidates = [other for other in candidates if other.key != run.key]
        try:
            bank = bank_of(run, banks)
            if several:
                _check_network(bank)
            if not run.is_finetune:
                check_layers(bank, run)
        except HeadError as error:
            reason = str(error).removesuffix(f": {CAN}")
            reporter.say(f"skipping {run.run} ({metric.recorded(run.metrics['val']):.4f}): {reason}")
            first_error = first_error or error
        else:
            count += 1
            yield run


def _check_network(bank: Bank) -> None:
    """Raises HeadError if the network of a bank is not one of Keras, so that no head on it can become Keras layers."""
    network = load_recorded(bank.recipe, bank.manifest.source)
    if network.form != "keras":
        message = f"{network.name} is a network of {FORMS[network.form]}, not of Keras"
        raise HeadError(message)
