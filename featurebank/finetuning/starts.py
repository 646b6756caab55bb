"""Which runs fine-tunes start from: runs, the beginnings of their ids, "best", or "top:3" for the best three."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from featurebank.errors import ConfigError
from featurebank.finetuning.stage import best_start
from featurebank.grafting.ranked_layers import ranked_in_layers
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.finetuned import is_finetuned
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import find_run
from featurebank.runs.several import Banks, runs_of
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, shown

TOP = "top:"


def find_starts(
    names: Sequence[RunRecord | str], banks: Banks, reporter: Reporter = SILENT, *, metric: Metric = ACCURACY
) -> list[RunRecord]:
    """Returns the runs that fine-tunes start from, each once, in the order of their names.

    Args:
        names: runs, the beginnings of their ids, "best", or "top:N" for the best N heads of different specifications
            that can be expressed as layers.
        banks: the bank of the runs, or several that hold the same images.
        reporter: receives one line for each better head that is skipped.
        metric: what decides which head is best.

    Raises:
        ConfigError: no name is given, or N is not a whole number of 1 or more.
        HeadError: no head can be expressed as layers.
        UnknownNameError: there is no such run.
    """
    if not names:
        message = "no run is given: expected at least one, as 'best', the beginning of a run's id, or 'top:3'"
        raise ConfigError(message)
    found = [run for name in names for run in _starts(name, banks, reporter, metric)]
    return list({run.run: run for run in found}.values())


def _starts(name: RunRecord | str, banks: Banks, reporter: Reporter, metric: Metric) -> Iterable[RunRecord]:
    if isinstance(name, RunRecord):
        return [name]
    if name == "best":
        return [best_start(banks, runs_of(banks), reporter, metric=metric)]
    if not name.startswith(TOP):
        return [find_run(banks, name)]
    number = name.removeprefix(TOP)
    if not (number.isascii() and number.isdigit() and int(number[:9])):
        message = f"the run to start from is {shown(name)}: expected top:N with a whole number of 1 or more, as top:3"
        raise ConfigError(message)
    heads = [run for run in runs_of(banks) if not is_finetuned(run)]
    best = list(islice(ranked_in_layers(banks, heads, reporter, metric=metric), int(number[:9])))
    if len(best) < int(number[:9]):
        reporter.say(f"{name}: only {counted(len(best), 'head')} can be expressed as layers")
    return best
