"""Opens banks that are already complete, so that nothing has to be computed or even written."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.index import contained
from featurebank.bank.items import Items
from featurebank.bank.reader import Bank
from featurebank.dataset import Dataset
from featurebank.errors import BankError, ConfigError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import plan_bank
from featurebank.extraction.state import read_state
from featurebank.system import digest


def bank_with(path: Path, digests: np.ndarray) -> Bank | None:
    """Opens a bank if it holds all of the images; returns None if some are missing or it cannot be read.

    Args:
        path: the bank's directory.
        digests: (n,) "S32", digests of the images.
    """
    with contextlib.suppress(BankError):
        bank = Bank(path)
        if contained(digests, bank.digests()).all():
            bank.rows(bank.taps[0], [0])  # proves that its rows exist
            return bank
    return None


def bank_as_requested(path: Path, dataset: Dataset, backbone: Backbone, options: ExtractOptions) -> Bank | None:
    """Opens a bank that an extraction would leave as it is; None if there is something to write, or it cannot be read.

    Args:
        path: the bank's directory.
        dataset: its images, as they are now, with their digests.
        backbone: the network.
        options: the requested options.
    """
    with contextlib.suppress(BankError, ConfigError):
        bank, state = Bank(path), read_state(path, options.recipe(backbone))
        good = np.flatnonzero((dataset.digests != b"") & ~np.isin(dataset.digests, state.bad))
        items = Items(dataset.ids, dataset.digests, dataset.labels, dataset.splits, dataset.metadata).select(good)
        assert bank.manifest.items, "an open bank has items"
        same = items.sorted().digest == bank.manifest.items["digest"] and bank.classes == tuple(dataset.classes)
        plan = plan_bank(path, state, options, digest.distinct(items.digests))
        nothing = not plan.jobs and not plan.shared and (plan.taps, plan.views) == (bank.taps, bank.views)
        if same and nothing and (options.on_bad_image == "skip" or not bank.skipped):
            return bank
    return None
