"""Reads files behind URLs through fsspec, with time limits and retries."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

from featurebank.errors import DatasetError, MissingDependencyError

PAUSES = (0.5, 1.5, 4.0)
"""Seconds to wait before each retry."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z][A-Za-z0-9+.\-]*)*://")
_LIMITS = {"total": 300, "sock_connect": 10, "sock_read": 30}
"""Seconds: for a whole file, for the connection, and between two pieces of data."""

_TRANSIENT = (408, 425, 429)
_NOT_FOUND = (404, 410)
_SERVER_ERRORS = 500
_REASON_LENGTH = 160
_PATIENCE = 5

_failed: dict[str, int] = {}
"""Number of successive failed files by server."""


def is_url(path: str) -> bool:
    """Returns whether a path is a URL ("https://...", "s3://..."), not a local file."""
    return _URL.match(path) is not None


def check_urls(urls: Iterable[str]) -> None:
    """Checks that each kind of URL can be read.

    Raises:
        MissingDependencyError: a package is not installed.
        DatasetError: a kind is unknown.
    """
    for protocol in sorted({name for url in urls for name in url.split("://", 1)[0].lower().split("::")}):
        try:
            import fsspec

            fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            package = f" ({' '.join(str(error).split())})" if "fsspec" not in str(error) else ""
            message = f"{protocol}:// needs a package that is missing{package}: pip install 'featurebank[remote]'"
            raise MissingDependencyError(message) from error
        except ValueError as error:
            message = f"URLs with {protocol}:// cannot be read: expected a protocol that fsspec knows, as https or s3"
            raise DatasetError(message) from error


def fetch(url: str) -> bytes:
    """Reads a whole file; may be called from several threads.

    Broken connections and temporary errors of the server (408, 429, 5xx) are retried after `PAUSES`. A server that
    failed for `_PATIENCE` successive files gets only one try per file, so that a dead server costs little time.

    Raises:
        OSError: the file cannot be read; the message is only the reason.
    """
    server = url.split("/", 3)[2]
    pauses = PAUSES if _failed.get(server, 0) < _PATIENCE else ()
    for pause in (*pauses, None):
        try:
            data = _read(url)
        except Exception as error:  # a file system of fsspec may raise any type
            passing = _passing(error)
            if pause is None or not passing:
                _failed[server] = _failed.get(server, 0) + 1 if passing else 0
                raise OSError(_reason(url, error, len(pauses) + 1)) from error
            time.sleep(pause)
        else:
            _failed[server] = 0
            return data
    raise AssertionError  # the last try returns or raises


def _read(url: str) -> bytes:
    import fsspec

    system, path = fsspec.core.url_to_fs(url, **_options(url))
    return bytes(system.cat_file(path))


def _options(url: str) -> dict[str, Any]:
    if not url.lower().startswith(("http://", "https://")):
        return {}
    import aiohttp

    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(**_LIMITS)}}


def _passing(error: Exception) -> bool:
    """Returns whether the same call may succeed a little later."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return status >= _SERVER_ERRORS or status in _TRANSIENT
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, ValueError, ImportError)):
        return False
    # The connection errors of aiohttp are not OSErrors.
    return isinstance(error, OSError) or type(error).__module__.startswith(("aiohttp", "botocore", "gcsfs"))


def _reason(url: str, error: Exception, tries: int) -> str:
    status = getattr(error, "status", None)
    http = url.lower().startswith(("http://", "https://"))
    if status in _NOT_FOUND or (http and isinstance(error, FileNotFoundError)):
        return f"not found (HTTP {status or 404})"
    if isinstance(error, FileNotFoundError):
        return "file not found"
    again = f" in {tries} tries" if tries > 1 and _passing(error) else ""
    if isinstance(status, int) and status:
        return f"refused by the server{again} (HTTP {status})"
    detail = " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__
    return f"could not be downloaded{again} ({detail})"
