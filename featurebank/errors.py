"""The error tree of featurebank.

Each class is a built-in exception too, so that callers can catch what they would expect:

    FeatureBankError
    ├── ConfigError (ValueError)              a pipeline file, a grid or an option is wrong
    │   └── UnknownNameError (LookupError)    a name that is in no table
    ├── DatasetError (ValueError)             a dataset that cannot be used as it is
    │   └── BadImageError                     one image that cannot be decoded
    │       └── LostImageError                one that cannot be read at all, or not any more
    ├── WeightsError (OSError)                weights that are missing, unreadable or of another network
    ├── BankError (OSError)
    │   ├── BankNotFoundError (FileNotFoundError)
    │   ├── BankLockedError (BlockingIOError) another process writes it
    │   ├── BankReadOnlyError (PermissionError) nothing can be written there
    │   ├── BankDamagedError                  bytes are not what the manifest says
    │   ├── BankUnreadableError               the system cannot read a file, which may be whole
    │   ├── BankIncompleteError               extraction has not ended yet
    │   └── FormatVersionError                written by a newer featurebank
    ├── DiskFullError (OSError)
    ├── RamLimitError (MemoryError)           more than `--ram` allows
    ├── FeatureRangeError (ArithmeticError)   NaN, infinity, or out of float16's range
    ├── EngineError (RuntimeError)            an engine that cannot run a network, or fails on a batch
    ├── HeadError (RuntimeError)              a head that cannot be trained or used
    ├── RunLockedError (BlockingIOError)      another process does this fine-tune
    ├── ArchiveError (ValueError)             a ZIP or NPZ file that is damaged, or that is not safe to open
    └── MissingDependencyError (ImportError)  an optional package is not installed

A message says what failed, the value got, what was expected and what to do, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from featurebank.words import one_line


class FeatureBankError(Exception):
    """Base of every error that featurebank raises on purpose."""


class ConfigError(FeatureBankError, ValueError):
    """A pipeline file, a grid file or an option is wrong."""


class UnknownNameError(ConfigError, LookupError):
    """A name that is in no table."""


class DatasetError(FeatureBankError, ValueError):
    """A dataset that cannot be used as it is."""


class BadImageError(DatasetError):
    """One image that cannot be decoded; the message is the reason alone."""


class LostImageError(BadImageError):
    """One image whose file cannot be read, or is another by now; what is in it has not been looked at."""


class WeightsError(FeatureBankError, OSError):
    """Weights that are missing, unreadable or of another network."""


class BankError(FeatureBankError, OSError):
    """A bank that cannot be read or written."""


class BankNotFoundError(BankError, FileNotFoundError):
    """There is no bank at this place."""


class BankLockedError(BankError, BlockingIOError):
    """Another process writes this bank now."""


class BankReadOnlyError(BankError, PermissionError):
    """Nothing can be written where this bank lies."""


class BankDamagedError(BankError):
    """The bytes on disk are not what the manifest says."""


class BankUnreadableError(BankError):
    """The system cannot read a file of the bank; nothing says that it is damaged."""


class BankIncompleteError(BankError):
    """Extraction into this bank has not ended yet."""


class FormatVersionError(BankError):
    """The bank was written by a newer featurebank."""


class DiskFullError(FeatureBankError, OSError):
    """No space is left where a file had to be written."""


class RamLimitError(FeatureBankError, MemoryError):
    """Something takes more memory than the user allows."""


class FeatureRangeError(FeatureBankError, ArithmeticError):
    """A feature is NaN, infinite or out of the range of the stored type."""


class EngineError(FeatureBankError, RuntimeError):
    """An engine that cannot run a network, or fails on a batch."""


class HeadError(FeatureBankError, RuntimeError):
    """A head that cannot be trained or used."""


class RunLockedError(FeatureBankError, BlockingIOError):
    """Another process does this fine-tune now."""


class ArchiveError(FeatureBankError, ValueError):
    """A ZIP or NPZ file that is damaged, or that is not safe to open; the message is the reason alone."""


class MissingDependencyError(FeatureBankError, ImportError):
    """An optional package is not installed."""


def unknown_name(
    kind: str, got: str, known: Iterable[str], hint: str = "", *, where_listed: str = ""
) -> UnknownNameError:
    """Builds the error for a name that is in no table, with the nearest ones.

    Args:
        kind: what the name should be, as "backbone".
        got: the name that was given.
        known: all the names that would have done.
        hint: what to do where no name is near, as "'featurebank backbones' lists them".
        where_listed: where to look, as "see 'featurebank heads --list'", if no name is near and there are many.

    Returns:
        The error, to be raised by the caller.
    """
    names = list(known)
    near = difflib.get_close_matches(got, names, n=3, cutoff=0.6)
    if near:
        advice = "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
    elif len(names) <= 12:  # noqa: PLR2004 - what fits on one line
        advice = "known: " + ", ".join(names)
    elif where_listed:
        advice = where_listed
    else:
        advice = f"{len(names)} are known"
    message = f"unknown {kind} '{one_line(got, 80)}': {one_line(advice)}"
    return UnknownNameError(f"{message}; {hint}" if hint else message)
