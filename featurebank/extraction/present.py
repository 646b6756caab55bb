"""Banks that have all that is asked for: nothing has to be computed, or even written."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from featurebank.bank.index import contained
from featurebank.bank.items import Items
from featurebank.bank.reader import Bank
from featurebank.dataset import Dataset
from featurebank.errors import BankError
from featurebank.extraction.options import ExtractOptions


def bank_with(path: Path, digests: np.ndarray) -> Bank | None:
    """Opens a bank that has all of some images; None if it has not, or cannot be read.

    Args:
        path: of the bank.
        digests: of the images, (n,) "S32".
    """
    with contextlib.suppress(BankError):
        bank = Bank(path)
        if contained(digests, bank.digests()).all():
            bank.rows(bank.taps[0], [0])  # its rows are there
            return bank
    return None


def bank_as_asked(path: Path, dataset: Dataset, options: ExtractOptions) -> Bank | None:
    """Opens a bank that an extraction would leave as it is; None if there is something to write, or it cannot be read.

    Args:
        path: of the bank.
        dataset: its images, as they are now, with their digests.
        options: what is asked for.
    """
    with contextlib.suppress(BankError):
        bank = Bank(path)
        known_bad = np.array([entry["digest"] for entry in bank.skipped if "digest" in entry], "S32")
        good = np.flatnonzero((dataset.digests != b"") & ~np.isin(dataset.digests, known_bad))
        items = Items(dataset.ids, dataset.digests, dataset.labels, dataset.splits, dataset.metadata).take(good)
        assert bank.manifest.items, "an open bank has items"
        same = items.sorted().digest == bank.manifest.items["digest"] and bank.classes == tuple(dataset.classes)
        if same and set(options.taps) <= set(bank.taps) and options.views <= bank.views and _stored_so(bank, options):
            for tap in bank.taps:
                for view in range(bank.views + 1):
                    bank.rows(tap, [], view=view)  # every image has its row
            return bank
    return None


def _stored_so(bank: Bank, options: ExtractOptions) -> bool:
    skips = options.on_bad_image == "skip" or not bank.skipped
    return skips and all(options.store in {None, bank.tap_dtype(tap)} for tap in options.taps)
