"""Groups of images in banks that are merged: a name stands for one group in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.bank.items import Items
from featurebank.dataset.grouping.components import GROUP, GROUPS, component_keys, components, torn_groups
from featurebank.dataset.grouping.rule import shown_torn
from featurebank.errors import ConfigError
from featurebank.words import counted

_AGAIN = "extract all banks with the same --groups"


def merged_rule(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """Returns the rule by which the images of merged banks have groups; None if they have none.

    Args:
        records: the dataset of each bank, as its manifest records it.
        names: the names of the banks.

    Raises:
        ConfigError: some banks have groups and others do not, or banks of one dataset have groups by several rules.
    """
    rules = [record.get(GROUPS) for record in records]
    distinct = list(dict.fromkeys(rule for rule in rules if rule))
    if not distinct:
        return None
    if None in rules:
        one, other = names[[rule is not None for rule in rules].index(True)], names[rules.index(None)]
        message = f"the images of '{one}' have groups ('{distinct[0]}'), and those of '{other}' have none: {_AGAIN}"
        raise ConfigError(message)
    if len(distinct) > 1 and len({record["spec"] for record in records}) == 1:
        where = names[rules.index(distinct[1])]
        message = f"the groups are '{distinct[0]}' in '{names[0]}' and '{distinct[1]}' in '{where}': {_AGAIN}"
        raise ConfigError(message)
    return "+".join(distinct)


def check_groups(tables: Sequence[Items]) -> None:
    """Checks that no group of merged banks stands in several splits.

    Raises:
        ConfigError: a group does.
    """
    groups = _groups(tables)
    if torn := torn_groups(groups, np.concatenate([table.splits for table in tables])):
        stand = "1 group stands" if len(torn) == 1 else f"{len(torn)} groups stand"
        message = (
            f"{stand} in different splits in different banks, {shown_torn(torn)}: use --seed 0 to split all "
            f"{counted(len(np.unique(groups)), 'group')} again, or extract all banks with the same seed"
        )
        raise ConfigError(message)


def split_keys(tables: Sequence[Items]) -> list[np.ndarray]:
    """Returns what decides the split of each image of merged banks, (n,) "S32" a bank; see `component_keys`."""
    groups = _groups(tables)
    parts = components(groups, np.concatenate([table.digests for table in tables]))
    return np.split(component_keys(groups, parts), np.cumsum([len(table) for table in tables])[:-1])


def _groups(tables: Sequence[Items]) -> np.ndarray:
    """Returns the name of each image's group, of all banks one after another."""
    return np.concatenate([table.metadata[GROUP].astype(np.str_) for table in tables])
