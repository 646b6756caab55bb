"""What the public functions accept as banks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from featurebank.api.arguments.checks import Accepts
from featurebank.api.arguments.data import as_cache, is_path
from featurebank.api.display import announce
from featurebank.bank import Bank, find_bank_path
from featurebank.bank.comparison.all_of import banks_of_dataset, dataset_of
from featurebank.bank.last_use import choice_reason, note_use
from featurebank.storage.caches import shown_path
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

BankLike: TypeAlias = Annotated[
    Bank | str | os.PathLike[str],
    Accepts(lambda value: isinstance(value, Bank) or is_path(value)),
    "a Bank, its name or its path",
]


def _are_banks(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(v, Bank) or is_path(v) for v in value)


BanksLike: TypeAlias = Annotated[
    Bank | str | os.PathLike[str] | Sequence[Bank | str | os.PathLike[str]],
    Accepts(lambda value: isinstance(value, Bank) or is_path(value) or _are_banks(value)),
    "a Bank, its name or its path, or a list of these; 'all-of:DATASET' is all banks of a dataset",
]


def as_banks(
    value: Bank | str | os.PathLike[str] | Sequence[Bank | str | os.PathLike[str]] | None, use: str, *,
    reporter: Reporter = SILENT,
) -> list[Bank]:  # fmt: skip
    """Returns banks, each once, and notes that they were used.

    Args:
        value: a bank, or its name or path; "all-of:DATASET"; a list of these; None for the bank that was used last.
        use: the name of the function that uses them.
        reporter: receives a line that names each bank.

    Raises:
        BankNotFoundError, UnknownNameError, ConfigError: there is no such bank, or there are several.
    """
    banks: list[Bank] = []
    listed: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    for one in listed:
        dataset = dataset_of(one) if isinstance(one, str) else None
        if dataset is None:
            banks.append(as_bank(one, use, reporter=reporter))
            continue
        found = banks_of_dataset(as_cache(None), dataset)
        for line in found.left_out:
            reporter.say(line)
        banks += [as_bank(Bank(path), use) for path in found.paths]
        names = ", ".join(path.name for path in found.paths)
        reporter.say(f"{counted(len(found.paths), 'bank')} of {found.dataset}: {names}")
    return list({os.path.abspath(bank.path): bank for bank in banks}.values())  # noqa: PTH100 - of text


def as_bank(
    value: Bank | str | os.PathLike[str] | None, use: str, *, cache: str | os.PathLike[str] | None = None,
    reporter: Reporter = SILENT,
) -> Bank:  # fmt: skip
    """Returns a bank, and notes that it was used, if it is in the cache.

    It says which bank it is and why; if nobody named it, where a person sees that.

    Args:
        value: a bank; its path, its name or the beginning of its name; None for the bank that was used last.
        use: the name of the function that uses it.
        cache: the directory of the banks.
        reporter: receives a line that names the bank.

    Raises:
        BankNotFoundError, UnknownNameError, ConfigError: there is no such bank, or there are several.
    """
    if isinstance(value, Bank):
        note_use(as_cache(cache), value.path, use)
        return value
    name = None if value is None else os.fspath(value)
    path = find_bank_path(as_cache(cache), name)
    bank, why = Bank(path), choice_reason(path, name)
    line = f"bank: {shown_path(path)} ({counted(len(bank), 'image')}, {counted(len(bank.classes), 'class')}){why}"
    if value is None:
        announce(line, reporter)
    else:
        reporter.say(line)
    note_use(as_cache(cache), path, use)
    return bank
