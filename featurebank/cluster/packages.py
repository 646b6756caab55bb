"""Imports dask.distributed, and hides its log lines from the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from featurebank.errors import MissingDependencyError
from featurebank.system.runtime import native_logs

_LOGGERS = ("distributed", "tornado", "asyncio")
_NOTHING = logging.CRITICAL + 1


def import_distributed() -> Any:
    """Imports the package `distributed`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        message = "--cluster needs dask.distributed, which is not installed: pip install 'featurebank[dask]'"
        raise MissingDependencyError(message) from error
    return distributed


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides the log lines and warnings of Dask while the block runs, unless the user asked for logs of libraries.

    What they report (a worker that died, a lost connection) is reported by featurebank in its own words.
    """
    if native_logs():
        yield
        return
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOGGERS]
    loggers = [logging.getLogger(name) for name in {*_LOGGERS, *names}]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(_NOTHING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(distributed|dask|tornado)\b")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
