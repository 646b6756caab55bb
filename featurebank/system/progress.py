"""Progress reports of a running stage. The default reporter shows nothing; the command line draws progress bars.

A reporter only displays: an exception in a reporter never stops the work.

>>> class Lines(Reporter):
...     def say(self, line):
...         print(line)
>>> Lines().say("loading resnet50")
loading resnet50
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from featurebank.errors import FeatureBankWarning

Advance = Callable[[int], None]
"""Reports that this many more pieces are done."""


class BestSoFar(NamedTuple):
    """One line of the ranking of the best heads so far."""

    head: str
    accuracy: float
    """Validation accuracy, from 0 to 1."""
    seconds: float
    """Training time."""


class Reporter:
    """Receives the progress of a stage and its messages to the user; this base class is silent.

    The methods of a subclass are guarded: an exception in one of them goes to `failed`, and the work goes on. After the
    first exception nothing is drawn any more; `say` and `warn` are still called, because their lines may matter.
    """

    _stopped = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, guard in _GUARDS.items():
            if name in vars(cls):
                setattr(cls, name, guard(vars(cls)[name]))

    def track(self, what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Shows the progress of a piece of work while the block runs.

        Args:
            what: the work, as "extract".
            total: how many pieces it has.
            unit: the plural noun for a piece, as "images"; "bytes" are shown as kB, MB and so on.
        """
        return contextlib.nullcontext(no_advance)

    def step(self, what: str) -> AbstractContextManager[None]:
        """Shows the current work of unknown duration while the block runs.

        Args:
            what: the work, as "loading resnet50".
        """
        return contextlib.nullcontext()

    def detail(self, text: str) -> None:
        """Shows how far the current piece of the tracked work is, as "epoch 3"."""

    def outcome(self, text: str) -> None:
        """Shows the result of the tracked work, as "val acc 0.9400"; it stays beside the bar."""

    def ranking(self, places: Sequence[BestSoFar]) -> None:
        """Shows the best heads so far, best first; may be called after every piece of work."""

    def say(self, line: str) -> None:
        """Shows one line of information."""

    def warn(self, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
        """Shows one line that calls for the user's action.

        Args:
            line: the warning.
            kind: its class, by which Python's filters recognise it; a subclass may take `line` alone.
        """

    def stop_showing(self, error: Exception) -> None:
        """Stops drawing because of an exception of this reporter; the first exception goes to `failed`."""
        if not self._stopped:
            with contextlib.suppress(Exception):
                self._stopped = True
                self.failed(error)

    def failed(self, error: Exception) -> None:
        """Receives the first exception raised by this reporter's own methods; the default warns of it."""
        message = f"progress is not shown any more: {type(self).__name__} raised {type(error).__name__}: {error}"
        warnings.warn(message, FeatureBankWarning, stacklevel=2)


def no_advance(count: int) -> None:
    """Shows nothing."""


def _guarded_line(method: Callable[..., None]) -> Callable[..., None]:
    """Wraps a method that shows a line."""

    @functools.wraps(method)
    def show(self: Reporter, *args: Any, **options: Any) -> None:
        try:
            method(self, *args, **options)
        except Exception as error:  # noqa: BLE001 - whatever a reporter raises, the work goes on
            self.stop_showing(error)

    return show


def _guarded_warning(method: Callable[..., None]) -> Callable[..., None]:
    """Wraps `warn`, also one that takes the line alone."""
    show = _guarded_line(method)
    takes_kind = len(inspect.signature(method).parameters) > 2  # noqa: PLR2004 - self and the line

    @functools.wraps(method)
    def warn(self: Reporter, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
        show(self, line, kind) if takes_kind else show(self, line)

    return warn


def _guarded_drawing(method: Callable[..., None]) -> Callable[..., None]:
    """Wraps `ranking` or `detail`."""
    show = _guarded_line(method)

    @functools.wraps(method)
    def draw(self: Reporter, *args: Any, **options: Any) -> None:
        if not self._stopped:
            show(self, *args, **options)

    return draw


def _guarded_block(method: Callable[..., AbstractContextManager[Any]]) -> Callable[..., Any]:
    """Wraps `track` or `step`: an exception on entering, advancing or leaving the display does not end the block."""

    @contextlib.contextmanager
    @functools.wraps(method)
    def block(self: Reporter, *args: Any, **options: Any) -> Iterator[Any]:
        shown: AbstractContextManager[Any] = contextlib.nullcontext()
        advance: Any = None
        if not self._stopped:
            try:
                shown = method(self, *args, **options)
                advance = shown.__enter__()
            except Exception as error:  # noqa: BLE001 - as above
                shown, advance = contextlib.nullcontext(), None
                self.stop_showing(error)
        try:
            yield functools.partial(_advance, self, advance) if advance else no_advance
        except BaseException as error:
            _leave(self, shown, error)
            raise
        _leave(self, shown, None)

    return block


def _leave(reporter: Reporter, shown: AbstractContextManager[Any], error: BaseException | None) -> None:
    """Leaves the display of a block; `error` is the exception that ended the block."""
    try:
        shown.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except Exception as wrong:  # noqa: BLE001 - as above
        if wrong is not error:
            reporter.stop_showing(wrong)


def _advance(reporter: Reporter, advance: Advance, count: int) -> None:
    if not reporter._stopped:
        try:
            advance(count)
        except Exception as error:  # noqa: BLE001 - as above
            reporter.stop_showing(error)


_GUARDS: dict[str, Callable[[Any], Any]] = {
    "track": _guarded_block, "step": _guarded_block, "detail": _guarded_drawing,
    "outcome": _guarded_drawing, "ranking": _guarded_drawing,
    "say": _guarded_line, "warn": _guarded_warning,
}  # fmt: skip

SILENT = Reporter()
_shown_by: list[Reporter] = [SILENT]


@contextlib.contextmanager
def shown_by(reporter: Reporter) -> Iterator[None]:
    """Makes a reporter show the `step` and `track` calls of functions that take no reporter, while the block runs."""
    _shown_by.append(reporter)
    try:
        yield
    finally:
        _shown_by.remove(reporter)


def _show_nothing() -> None:
    """Makes a forked process silent: the thread that draws did not survive the fork."""
    _shown_by[:] = [SILENT]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_show_nothing)


def step(what: str) -> AbstractContextManager[None]:
    """Shows the current work on this process's reporter while the block runs; see `Reporter.step`."""
    return _shown_by[-1].step(what)


def track(what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
    """Shows the progress of a piece of work on this process's reporter; see `Reporter.track`."""
    return _shown_by[-1].track(what, total, unit)


def detail(text: str) -> None:
    """Shows how far the current piece of the work is on this process's reporter; see `Reporter.detail`."""
    _shown_by[-1].detail(text)
