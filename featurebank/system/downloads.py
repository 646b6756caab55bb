"""Progress bars of downloads, for the libraries that download: pooch and Keras."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import Any

from featurebank.system.progress import Advance, no_advance, step, track
from featurebank.system.runtime import import_tensorflow


class DownloadBar:
    """Shows a download on this process's reporter: bytes received, speed and remaining time.

    It has the methods that pooch and Keras call on their own bars.

    Args:
        what: the work, as "downloading weights.h5".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = contextlib.ExitStack()
        self._advance: Advance = no_advance
        self._total = self._done = 0

    def __enter__(self) -> DownloadBar:
        self._shown.enter_context(step(self._what))  # until the server announces the size
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def total(self) -> int:
        """The bytes that the server announced; 0 if it announced none."""
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self.close()
        self._total, self._done = size, 0
        if size:
            self._advance = self._shown.enter_context(track(self._what, size, "bytes"))
        else:
            self._shown.enter_context(step(self._what))

    def update(self, count: int) -> None:
        """Adds received bytes; pooch reports all of them once more at the end, which is ignored."""
        count = min(count, self._total - self._done)
        if count > 0:
            self._done += count
            self._advance(count)

    def reset(self) -> None:
        """Does nothing; pooch calls it before its last update."""

    def close(self) -> None:
        """Closes the bar."""
        self._shown.close()
        self._advance = no_advance


class _KerasBar:
    """The object that Keras expects as the progress bar of a download."""

    def __init__(self, bar: DownloadBar, total: int | None) -> None:
        self.target = bar.total = total or 0
        self._bar, self._done = bar, 0

    def update(self, done: int) -> None:
        """Receives the bytes downloaded so far; Keras passes the total, not the difference."""
        self._bar.update(done - self._done)
        self._done = done


@contextlib.contextmanager
def keras_downloads(what: str) -> Iterator[Any]:
    """Shows the downloads of Keras while the block runs, in place of its own messages and progress bar.

    Args:
        what: the work, as "downloading weights.h5".

    Yields:
        The module `keras`. A download may be the first work of a process, and an `import keras` of its own would
        print the log lines of TensorFlow.
    """
    import_tensorflow()
    import keras

    names, name = keras.utils.get_file.__globals__, "Progbar"
    before = names.get(name)
    with DownloadBar(what) as bar, contextlib.redirect_stdout(io.StringIO()):
        names[name] = functools.partial(_KerasBar, bar)
        try:
            yield keras
        finally:
            names[name] = before
