"""What the public functions accept as runs, metrics and grids."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from featurebank.api.arguments.banks import as_bank, as_banks
from featurebank.api.arguments.checks import Accepts
from featurebank.api.arguments.data import is_path
from featurebank.bank import Bank
from featurebank.errors import ConfigError, WrongTypeError
from featurebank.grid import Grid, GridBlock, built_in_grids
from featurebank.heads.catalog import HEADS
from featurebank.heads.described import describe_head
from featurebank.metrics import Metric, metric_of, metric_titles
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import find_run
from featurebank.runs.several import check_runs, runs_of
from featurebank.system.progress import Reporter
from featurebank.words import shown


def _is_head(value: Any) -> bool:
    return isinstance(value, str | Mapping) or (hasattr(value, "fit") and not isinstance(value, type))


def is_fitted_head(value: Any) -> bool:
    """Returns whether a value is a head or a classifier, and not a run."""
    is_head = hasattr(value, "fit") or hasattr(value, "predict_proba")
    return is_head and not isinstance(value, type | RunRecord)


def _is_grid(value: Any) -> bool:
    return is_path(value) or _is_head(value) or (isinstance(value, list | tuple) and all(map(_is_head, value)))


def _are_runs(value: Any) -> bool:
    """Returns whether a value is runs, a bank, or a list of banks."""
    if isinstance(value, Bank) or is_path(value):
        return True
    return isinstance(value, Iterable) and not isinstance(value, bytes | Mapping)


RunLike: TypeAlias = Annotated[
    RunRecord | str, Accepts(lambda value: isinstance(value, RunRecord | str)),
    "a run, 'best', or the beginning of the id of a run",
]  # fmt: skip
RunsLike: TypeAlias = Annotated[
    Iterable[RunRecord | Bank | str | os.PathLike[str]] | Bank | str | os.PathLike[str], Accepts(_are_runs),
    "runs, or a bank or its name or path, or a list of banks",
]  # fmt: skip
RunOrHead: TypeAlias = Annotated[
    RunRecord | str | Any,
    Accepts(lambda value: isinstance(value, RunRecord | str) or is_fitted_head(value)),
    "a run, 'best', the beginning of the id of a run, or a fitted head",
]
HeadLike: TypeAlias = Annotated[
    str | Any, Accepts(lambda value: _is_head(value) and not isinstance(value, Mapping)),
    "the name of a head, as 'svm', or an unfitted classifier",
]  # fmt: skip
MetricLike: TypeAlias = Annotated[
    Metric | str,
    Accepts(lambda value: isinstance(value, Metric | str)),
    f"a metric, as one of {', '.join(metric_titles())}",
]
BankOrRun: TypeAlias = Annotated[
    Bank | RunRecord | str | os.PathLike[str],
    Accepts(lambda value: isinstance(value, Bank | RunRecord) or is_path(value)),
    "a Bank, its name or its path, or a run alone",
]
GridLike: TypeAlias = Annotated[
    str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any] | Any, Accepts(_is_grid),
    "a grid or the path of a grid file; or a head or a list of heads, each a name, a dictionary or a classifier",
]  # fmt: skip


def as_bank_and_run(
    bank: Bank | RunRecord | str | os.PathLike[str] | None, run: RunRecord | str | None, use: str, reporter: Reporter
) -> tuple[Bank, RunRecord]:
    """Returns a run with its bank.

    Args:
        bank: the bank, or the run itself, which knows its bank; None for the bank that was used last.
        run: the run; None is "best", unless `bank` is the run.
        use: the name of the function that uses them.
        reporter: receives a line that names the bank.

    Raises:
        ConfigError: `bank` is a run, and `run` is another one.
    """
    if isinstance(bank, RunRecord):
        if run is not None:
            message = "bank is a run, and run is given, too: expected a bank and a run, or the run alone"
            raise ConfigError(message)
        return as_bank(Bank(bank.directory), use), bank
    found = as_bank(bank, use, reporter=reporter)
    return found, as_run("best" if run is None else run, lambda: found)


def as_run(value: RunRecord | str, bank: Callable[[], Bank]) -> RunRecord:
    """Returns a run.

    Args:
        value: a run; "best", which `select` returns; or the beginning of an id.
        bank: returns the bank of the run, if it has to be searched there.

    Raises:
        UnknownNameError, ConfigError, HeadError: there is no such run, or there are several.
    """
    return find_run(bank(), value) if isinstance(value, str) else value


def as_runs(
    value: Iterable[Any] | Bank | str | os.PathLike[str] | None, use: str, reporter: Reporter
) -> list[RunRecord]:
    """Returns runs, or all those of a bank or of several.

    Raises:
        BankNotFoundError, UnknownNameError, ConfigError: there is no such bank, or several banks do not hold the same
            images.
        WrongTypeError: a list holds both banks and runs, or something else.
    """
    if value is None or isinstance(value, Bank | str | os.PathLike):
        return runs_of(as_banks(value, use, reporter=reporter))
    listed = list(value)
    if listed and all(isinstance(one, Bank | str | os.PathLike) for one in listed):
        return runs_of(as_banks(listed, use, reporter=reporter))
    if strange := [one for one in listed if not isinstance(one, RunRecord)]:
        message = f"runs has an element {shown(strange[0])}: expected runs alone, or banks alone"
        raise WrongTypeError(message)
    check_runs(listed)
    return listed


def as_metric(value: Metric | str, bank: Bank | None = None) -> Metric:
    """Returns a metric.

    Args:
        value: the metric, or its name.
        bank: the bank whose classes names such as "recall:CLASS" refer to.

    Raises:
        UnknownNameError: there is no metric or no class of this name.
        ConfigError: the costs of "cost:FILE.csv" cannot be read or do not fit the classes.
    """
    return metric_of(value, None if bank is None else bank.classes)


def metric_of_runs(value: Metric | str, runs: Sequence[RunRecord]) -> Metric:
    """Returns a metric for the classes of the bank of some runs; see `as_metric`."""
    if isinstance(value, Metric) or ":" not in value or not runs:
        return as_metric(value)
    return as_metric(value, Bank(runs[0].directory))


def as_grid(value: GridLike) -> Grid:
    """Returns a grid.

    Args:
        value: the name of a built-in grid or the path of a grid file; or a head, or a list of heads, each a name, a
            dictionary as a block of a grid file (lists are axes, tuples are values), or an unfitted classifier.

    Raises:
        ConfigError: a head cannot be trained again, or cannot be recorded.
    """
    if isinstance(value, str | os.PathLike):
        name = os.fspath(value)
        is_head = name not in built_in_grids() and (name in HEADS or (":" in name and not name.endswith(".toml")))
        return [_as_block(name)] if is_head else name
    heads: list[Any] = [value] if _is_head(value) else list(value)
    return [_as_block(head) for head in heads]


def _as_block(head: Any) -> Any:
    """Returns the block of a grid for one head of a list."""
    if isinstance(head, str):
        return GridBlock({"kind": head})
    if isinstance(head, Mapping):
        return GridBlock(head, axes=True)
    return GridBlock(describe_head(head))
