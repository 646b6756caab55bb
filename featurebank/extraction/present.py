"""Opens banks that are already complete, so that nothing has to be computed or even written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.index import contained
from featurebank.bank.items import Items
from featurebank.bank.pages.corrections import apply_corrections, read_corrections
from featurebank.bank.reader import Bank
from featurebank.dataset import Dataset
from featurebank.dataset.grouping.components import GROUPS
from featurebank.dataset.weights import WEIGHT
from featurebank.errors import BankError, ConfigError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import plan_bank
from featurebank.extraction.request import dataset_items, dataset_record
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
        own = dataset_items(dataset, good)
        items = apply_corrections(own, dataset.classes, read_corrections(bank.manifest.dataset)).items
        same = _lists(bank, items, dataset_record(dataset))
        plan = plan_bank(path, state, options, digest.distinct(items.digests))
        nothing = not plan.jobs and not plan.shared and (plan.taps, plan.views) == (bank.taps, bank.views)
        if same and nothing and (options.on_bad_image == "skip" or not bank.skipped):
            return bank
    return None


def _lists(bank: Bank, items: Items, record: Mapping[str, Any]) -> bool:
    """Returns whether the table of a bank has some images as they are now, with the same columns and roles."""
    assert bank.manifest.items, "an open bank has items"
    items, columns = items.sorted(), bank.metadata()
    if items.digest != bank.manifest.items["digest"] or columns.keys() != items.metadata.keys():
        return False
    roles = all(bank.manifest.dataset.get(name) == record.get(name) for name in ("classes", GROUPS, WEIGHT))
    return roles and all(_equal(columns[name], column) for name, column in items.metadata.items())


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    kinds = one.dtype.kind == other.dtype.kind
    return kinds and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
