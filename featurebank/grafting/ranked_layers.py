"""The best runs whose heads can become Keras layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featurebank.backbone.naming import check_named
from featurebank.backbone.network import FORMS
from featurebank.backbone.recorded import load_recorded, recorded_options
from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError, WeightsError
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
        banks: the bank that the runs were trained on, or several. Of several, those whose network cannot be loaded
            again or is not one of Keras are skipped.
        runs: the candidates; default: all runs of the banks.
        reporter: receives one line for each better head that is skipped, with the reason.
        metric: what decides which run is better.

    Raises:
        HeadError: no head can become Keras layers, or no run succeeded.
        ConfigError: of several banks, one has a network that is a function which the user has not named.
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
            if not run.is_finetune:  # the model of a fine-tune has its network
                check_layers(bank, run)
                if several:
                    _check_network(bank)
        except HeadError as error:
            reason = str(error).removesuffix(f": {CAN}")
            reporter.say(f"skipping {run.run} ({metric.recorded(run.metrics['val']):.4f}): {reason}")
            first_error = first_error or error
        else:
            count += 1
            yield run


def _check_network(bank: Bank) -> None:
    """Checks that the network of a bank can be loaded again and is one of Keras: else no head on it becomes layers.

    Raises:
        HeadError: it cannot, or is not.
        ConfigError: it is a function that the user has not named, which is for the user to decide.
    """
    try:
        name = recorded_options(bank.recipe, bank.manifest.source)["backbone"]
    except ConfigError as error:
        raise HeadError(str(error)) from error
    check_named(name, f"the bank '{bank.name}'")
    try:
        network = load_recorded(bank.recipe, bank.manifest.source)
    except (ConfigError, WeightsError) as error:
        raise HeadError(str(error)) from error
    if network.form != "keras":
        message = f"{network.name} is a network of {FORMS[network.form]}, not of Keras"
        raise HeadError(message)
