"""The runs of several banks that hold the same images, as one list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from featurebank.bank import Bank
from featurebank.bank.comparison.same_images import check_same_images
from featurebank.runs.run import RunRecord, load_runs

Banks = Bank | Sequence[Bank]
"""One bank, or several that hold the same images."""


def as_list(banks: Banks) -> list[Bank]:
    """Returns banks as a list, each once."""
    listed = [banks] if isinstance(banks, Bank) else list(banks)
    return list({os.path.abspath(bank.path): bank for bank in listed}.values())  # noqa: PTH100 - as in `RunRecord.key`


def runs_of(banks: Banks) -> list[RunRecord]:
    """Returns the runs of the current state of banks.

    Args:
        banks: one bank, or several.

    Raises:
        ConfigError: several banks do not hold the same images with the same labels in the same splits.
        BankDamagedError: see `load_runs`.
    """
    listed = as_list(banks)
    check_same_images(listed)
    return [run for bank in listed for run in load_runs(bank)]


def bank_of(run: RunRecord, banks: Banks = ()) -> Bank:
    """Returns the bank of a run: one of some banks, or else opened anew."""
    path = os.path.abspath(run.directory)  # noqa: PTH100
    known = (bank for bank in as_list(banks) if os.path.abspath(bank.path) == path)  # noqa: PTH100
    return next(known, None) or Bank(run.directory)


def check_runs(runs: Iterable[RunRecord]) -> None:
    """Checks that the banks of some runs hold the same images; opens no bank if all runs are of one.

    Raises:
        ConfigError: they do not.
        BankError: a bank cannot be read.
    """
    directories = {os.path.abspath(run.directory): run.directory for run in runs}  # noqa: PTH100
    if len(directories) > 1:
        check_same_images([Bank(directory) for directory in directories.values()])
