"""What the public functions accept as banks."""

from __future__ import annotations

import os
from typing import Annotated, TypeAlias

from featurebank.api.arguments.checks import Accepts
from featurebank.api.arguments.data import as_cache, is_path
from featurebank.api.display import announce
from featurebank.bank import Bank, find_bank_path
from featurebank.bank.last_use import choice_reason, note_use
from featurebank.storage.caches import shown_path
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

BankLike: TypeAlias = Annotated[
    Bank | str | os.PathLike[str],
    Accepts(lambda value: isinstance(value, Bank) or is_path(value)),
    "a Bank, its name or its path",
]


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
