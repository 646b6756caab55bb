"""What commands on several banks of one dataset share: `--bank all-of:DATASET`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from featurebank.cli.context import Settings
from featurebank.cli.options import open_bank

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.runs.run import RunRecord
    from featurebank.system.progress import Reporter


def open_banks(settings: Settings, name: str | None, *, all_banks: bool = False) -> list[Bank]:
    """Opens the bank, or the banks, that a command works on: of "all-of:DATASET" all banks of the dataset.

    Args:
        settings: what stands before the command.
        name: as `--bank` gives it; None takes the last used.
        all_banks: take all banks of the dataset of this bank.
    """
    from featurebank.bank import Bank
    from featurebank.bank.catalog import find_bank_path
    from featurebank.bank.comparison.all_of import banks_of_dataset, dataset_name, dataset_of
    from featurebank.bank.last_use import note_use
    from featurebank.words import counted

    cache, dataset = settings.cache, dataset_of(name)
    if dataset is None and all_banks:
        path = find_bank_path(cache, name)
        cache, dataset = path.parent, dataset_name(path)
    if dataset is None:
        return [open_bank(settings, name)]
    found = banks_of_dataset(cache, dataset)
    reporter = settings.reporter()
    for line in found.left_out:
        reporter.say(line)
    banks = [Bank(path) for path in found.paths]
    names = ", ".join(bank.name for bank in banks)
    reporter.say(f"{counted(len(banks), 'bank')} of {found.dataset} ({counted(len(banks[0]), 'image')}): {names}")
    for bank in banks:
        note_use(settings.cache, bank.path, click.get_current_context().info_name or "")
    return banks


def say_what_is_missing(banks: Sequence[Bank], runs: Sequence[RunRecord], reporter: Reporter) -> None:
    """Reports the runs of older states of the banks, and the banks without a run on the leaderboard."""
    from featurebank.runs.run import load_runs
    from featurebank.words import counted

    if old := sum(len(load_runs(bank, stale=True)) for bank in banks):
        what = "this bank" if len(banks) == 1 else "these banks"
        reporter.say(f"not shown: {counted(old, 'run')} of an older state of {what} (other images, labels or split)")
    ranked = {run.directory for run in runs if not run.failure}
    without = [bank.name for bank in banks if bank.path not in ranked]
    if len(banks) > 1 and without:
        reporter.say(f"without a run of this protocol: {', '.join(without)}")
