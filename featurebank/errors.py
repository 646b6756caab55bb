"""The errors and warnings of featurebank, by kind.

Each error is also a built-in exception, so that callers can catch the type that they expect. A message states in one
line what failed, the value received, what was expected and what to do. What does not stop the work is a warning, which
Python's filters can hide or raise, all or one kind.

The docstring of a class says in its first sentence when it is raised, and then what to do: the page of errors in the
documentation shows both.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from featurebank.words import one_line, problem_lines


class FeatureBankError(Exception):
    """Base of every error that featurebank raises on purpose; each one is a built-in exception, too.

    Example:
        >>> try:
        ...     fb.open_bank("cache/no such bank")
        ... except FeatureBankError as error:
        ...     print(type(error).__name__, isinstance(error, FileNotFoundError))
        BankNotFoundError True
    """


class ConfigError(FeatureBankError, ValueError):
    """A pipeline file, a grid file or an option is wrong. Correct each value that the message names; nothing was
    started.
    """


class UnknownNameError(ConfigError, LookupError):
    """A name that is not registered. Take one of the names that the message suggests, or list them with the command
    that it names.
    """


class WrongTypeError(ConfigError, TypeError):
    """An argument of a public function is of a type that it does not accept, or has a value that it never accepts. Pass
    a value of the type that the message names.
    """


class DatasetError(FeatureBankError, ValueError):
    """A dataset that cannot be used as it is. Correct the folder, the table or the option that the message names;
    `featurebank inspect` shows what is in a dataset.
    """


class BadImageError(DatasetError):
    """One image that cannot be decoded; the message is the reason alone. Repair or remove the file; an extraction
    leaves it out and lists it, unless `on_bad_image` is "fail".
    """


class LostImageError(BadImageError):
    """One image whose file cannot be read or has changed; its content has not been examined. Make the file readable
    again, or extract again if it was changed.
    """


class WeightsError(FeatureBankError, OSError):
    """Weights that are missing, unreadable or of another network. Download the weights again, or pass the file or the
    name of weights of this network.
    """


class BankError(FeatureBankError, OSError):
    """A bank that cannot be read or written. The message says which file and why; the errors below say what to do."""


class BankNotFoundError(BankError, FileNotFoundError):
    """There is no bank at this place. Check the path and `--cache`; `featurebank cache ls` lists the banks, and
    `featurebank extract` makes one.
    """


class BankLockedError(BankError, BlockingIOError):
    """Another process is writing this bank. Wait for that process to end, or let `--wait` do so; the message names the
    process and its machine.
    """


class BankReadOnlyError(BankError, PermissionError):
    """The bank's directory is not writable. Change the permissions, or use another `--cache`; reading and training need
    no permission to write.
    """


class BankDamagedError(BankError):
    """The bytes on disk do not match the manifest. Run `featurebank cache verify --forget`, which removes what is
    damaged, then extract again: only the missing rows are computed.
    """


class BankUnreadableError(BankError):
    """The system cannot read a file of the bank; the file may be intact. Check the disk or the network drive, and try
    again.
    """


class BankIncompleteError(BankError):
    """Extraction into this bank has not finished. Run the same extraction again; it continues where it stopped."""


class FormatVersionError(BankError):
    """The bank was written by a newer featurebank. Install the version of featurebank that the message names."""


class DiskFullError(FeatureBankError, OSError):
    """No space is left on the disk for a file. Free some space or use another disk, then run the same command again;
    finished work is kept.
    """


class RamLimitError(FeatureBankError, MemoryError):
    """The work needs more memory than the user allows. Allow more memory with `--ram`, or take what the message
    suggests, such as a smaller batch, `--sample` or another head.
    """

    def __new__(cls, *args: Any) -> Self:
        """Makes the error by the constructor that Python itself uses for it, so that Dask's workers can send it."""
        return Exception.__new__(cls, *args)


class FeatureRangeError(FeatureBankError, ArithmeticError):
    """A feature is NaN, infinite or out of the range of the stored type. Store the tap as float32, or check the weights
    and the preprocessing of the network.
    """


class EngineError(FeatureBankError, RuntimeError):
    """An engine that cannot run a network, or fails on a batch. Use the other engine with `--engine`, or a smaller
    `--batch-size`.
    """


class HeadError(FeatureBankError, RuntimeError):
    """A head that cannot be trained or used. The message names the head and the reason; other heads of a grid are
    trained nevertheless.
    """


class HeadInputError(HeadError, ValueError):
    """A head that cannot use the parameters, features or labels that it was given. Correct the values that the message
    names; `featurebank heads --list KIND` shows all parameters.
    """


if TYPE_CHECKING:

    class NotFittedError(HeadInputError, AttributeError):
        """A head that was asked for an answer before `fit`."""


class RunLockedError(FeatureBankError, BlockingIOError):
    """Another process is running this fine-tuning. Wait for that process to end, or stop it; the fine-tune continues
    from its last checkpoint.
    """


class ClusterError(FeatureBankError, RuntimeError):
    """A cluster that cannot be reached, or whose workers cannot do the work. Check the address, and that the workers
    see the same files and have the same versions; repeat the command to continue.
    """


class StorageError(FeatureBankError, OSError):
    """An object storage that cannot be reached, or that lacks what a cache needs. Check the address, the credentials
    and the network, then repeat the command.
    """


class ArchiveError(FeatureBankError, ValueError):
    """A ZIP or NPZ file that is damaged, or that is not safe to open; the message is the reason alone. Get the file
    again from its source; do not unpack one that is not safe by other means.
    """


class MissingDependencyError(FeatureBankError, ImportError):
    """An optional package is not installed. Install the extra that the message names, as `featurebank[onnx]`."""


class FeatureBankWarning(UserWarning):
    """Base of every warning of featurebank.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", FeatureBankWarning)
        ...     runs = fb.train_heads(bank, "nearest_mean")
    """


class DatasetWarning(FeatureBankWarning):
    """Images, labels or splits of a dataset that are probably not as intended. Look at the images that it names;
    `featurebank inspect` shows more.
    """


class BadImageWarning(DatasetWarning):
    """Images that cannot be read and were left out. Repair the files and extract again, if you need them; the bank
    lists them with the reasons.
    """


class BackboneWarning(FeatureBankWarning):
    """The network, its preprocessing or its arithmetic costs accuracy. Set the preprocessing, or the option that the
    message names.
    """


class BankWarning(FeatureBankWarning):
    """Files of a bank or of its runs that are damaged or cannot be written. Run `featurebank cache verify`; results do
    not use what is damaged.
    """


class HeadWarning(FeatureBankWarning):
    """A head that failed, or that was not trained as planned. Read the reason, which the run's record also has;
    `--retry-failed` trains failed heads again.
    """


class TestSplitWarning(FeatureBankWarning):
    """Test images that were used before: the test is no longer fair. Report the result as no longer fair, or test on
    new images.
    """

    __test__ = False  # a name for people, not a test for pytest


def unknown_name(
    kind: str, got: object, known: Iterable[str], hint: str = "", *, where_listed: str = ""
) -> UnknownNameError:
    """Builds the error for an unknown name, with the nearest known ones.

    Args:
        kind: the noun for the name, as "backbone".
        got: the unknown name; a value of another type than a text is shown as it is.
        known: all valid names.
        hint: what to do if no name is near, as "'featurebank backbones' lists them".
        where_listed: where to look, as "see 'featurebank heads --list'", if no name is near and there are many.

    Returns:
        The error; the caller raises it.

    Example:
        >>> str(unknown_name("backbone", "resnet5", ["resnet50", "vgg16"]))
        "unknown backbone 'resnet5': did you mean 'resnet50'?"
    """
    names = list(known)
    text = got if isinstance(got, str) else repr(got)
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.6)
    if near:
        advice = "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
    elif len(names) <= 12:  # noqa: PLR2004 - what fits on one line
        advice = "known: " + ", ".join(names)
    elif where_listed:
        advice = where_listed
    else:
        advice = f"{len(names)} are known"
    message = f"unknown {kind} '{one_line(text, 80)}': {one_line(advice)}"
    if not hint:
        return UnknownNameError(message)
    return UnknownNameError(f"{message} {hint[0].upper()}{hint[1:]}" if near else f"{message}; {hint}")


def raise_all(problems: Sequence[FeatureBankError]) -> None:
    """Raises one error for all problems, if there are any: the problem itself, if it is the only one.

    Example:
        >>> raise_all([])
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError(problem_lines(str(problem) for problem in problems))


def __dir__() -> list[str]:
    return [*globals(), "NotFittedError"]


def __getattr__(name: str) -> Any:
    """Returns `NotFittedError`, which is a class of scikit-learn, too: importing featurebank must not import that."""
    if name != "NotFittedError":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from sklearn.exceptions import NotFittedError as Theirs

    text = "A head that was asked for an answer before `fit`. Call `fit` first, or load a fitted head."
    about = {"__doc__": text, "__module__": __name__}
    return globals().setdefault(name, type(name, (HeadInputError, Theirs), about))
