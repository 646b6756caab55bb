"""Downloads by libraries, with our progress bars and a limit for a silent network: pooch, Keras, the hub's package."""

from __future__ import annotations

import contextlib
import functools
import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank.system.progress import Advance, no_advance, step, track
from featurebank.system.runtime import import_tensorflow
from featurebank.words import one_line

SECONDS_WITHOUT_ANSWER = 15.0
"""A server that is silent for so long has failed; there may be a second one."""

_CHUNK = 1 << 18
_ASKED_AGAIN_S = 60.0
_WORDS = {
    "ConnectionError": "no connection",
    "ProxyError": "no connection to the proxy",
    "ConnectTimeout": "no connection",
    "ReadTimeout": f"no answer in {SECONDS_WITHOUT_ANSWER:.0f} s",
    "ChunkedEncodingError": "the connection broke",
}
"""Descriptions of the errors of requests, by their class."""


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

    Keras sets no time limit: without one, a silent network would block for ever.

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
    with DownloadBar(what) as bar, contextlib.redirect_stdout(io.StringIO()), sockets_with_limit():
        names[name] = functools.partial(_KerasBar, bar)
        try:
            yield keras
        finally:
            names[name] = before


@contextlib.contextmanager
def sockets_with_limit() -> Iterator[None]:
    """Limits how long new connections of the process wait for an answer, for libraries that set no limit themselves."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def download(url: str, target: Path, what: str, checksum: str | None = None) -> None:
    """Downloads a file by pooch; an interrupted download leaves no file.

    Args:
        url: address of the file.
        target: path of the file; its folder exists.
        what: the work, as "downloading weights.h5".
        checksum: "sha256:" and the expected digest; None for any content.

    Raises:
        OSError: it cannot be downloaded; see `reason_of`.
        ValueError: it has another checksum, or its address is none.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would print the address and the hash of every file
    with DownloadBar(what) as bar:
        downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=SECONDS_WITHOUT_ANSWER)
        pooch.retrieve(url, checksum, target.name, str(target.parent), downloader=downloader)


def reason_of(error: Exception) -> str:
    """Describes in a few words why a download by requests, as pooch and others use it, has failed.

    Example:
        >>> reason_of(ConnectionError("Max retries exceeded with url ..."))
        'no connection'
    """
    if (response := getattr(error, "response", None)) is not None:
        return f"HTTP {response.status_code}"
    if isinstance(error, ValueError) and "hash" in str(error):
        return "not the expected file, by its SHA-256"
    return _WORDS.get(type(error).__name__) or one_line(str(error), 160) or type(error).__name__


def hub_answers() -> bool:
    """Returns whether the hub of Hugging Face answers; asks it at most once a minute.

    Its package repeats each request for minutes, whether there is a network or not. So it is asked for files only if
    this is true, and else for what is in its cache.
    """
    global _hub  # noqa: PLW0603 - the network belongs to the process
    if time.monotonic() - _hub[1] > _ASKED_AGAIN_S:
        from huggingface_hub import constants, get_session

        try:
            get_session().head(constants.ENDPOINT, timeout=SECONDS_WITHOUT_ANSWER)
            answers = True
        except Exception:  # noqa: BLE001 - of its client of HTTP, which differs between versions; or it is offline
            answers = False
        _hub = answers, time.monotonic()
    return _hub[0]


_hub = (False, -1e9)
"""Whether the hub answered, and when it was asked, by the monotonic clock."""
