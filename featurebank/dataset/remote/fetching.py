"""Reads files behind URLs through fsspec, with time limits and retries."""

from __future__ import annotations

import email.utils
import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from featurebank.dataset.fingerprint import Stamp
from featurebank.errors import DatasetError, MissingDependencyError

PAUSES = (0.5, 1.5, 4.0)
"""Seconds to wait before each retry."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z][A-Za-z0-9+.\-]*)*://")
_LIMITS = {"total": 300, "sock_connect": 5, "sock_read": 20}
"""Seconds: for a whole file, for the connection, and between two pieces of data."""
_LIMITS_S3 = {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "total_max_attempts": 1}}
_RETRY_S = 15.0
"""No further try begins this long after the first, so that a silent server costs no more than half a minute."""

_TRANSIENT = (408, 425, 429)
_NOT_FOUND = (404, 410)
_SERVER_ERRORS = 500
_REASON_LENGTH = 160
_PATIENCE = 5
_REST_S = 30.0
"""A server that gave no answer for `_PATIENCE` successive files is asked for no other one for this long."""

_failed: dict[str, int] = {}
"""Number of successive failed files by server."""
_resting: dict[str, float] = {}
"""Until when a silent server is not asked, by the monotonic clock."""


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
    """Reads a whole file; raises OSError like `download`."""
    return download(url)[0]


def download(url: str) -> tuple[bytes, Stamp | None]:
    """Reads a whole file; may be called from several threads.

    Broken connections and temporary errors of the server (408, 429, 5xx) are retried after `PAUSES`. A server that
    failed for `_PATIENCE` successive files gets only one try per file, and none for a while if it does not answer at
    all, so that a dead server costs little time.

    Returns:
        The content and its version as `version_of` will return it; None if the server names no version.

    Raises:
        OSError: the file cannot be read; the message is only the reason.
    """
    server = _server(url)
    if time.monotonic() < _resting.get(server, 0.0):
        message = f"not tried, because {server} did not answer for {_PATIENCE} other files"
        raise OSError(message)
    pauses = PAUSES if _failed.get(server, 0) < _PATIENCE else ()
    began = time.monotonic()
    for number, pause in enumerate((*pauses, None), start=1):
        try:
            answer = _read(url)
        except Exception as error:  # a file system of fsspec may raise any type
            late = time.monotonic() - began + (pause or 0.0) > _RETRY_S
            if pause is None or late or not _passing(error):
                _note_failure(server, error)
                raise OSError(_reason(url, error, number)) from error
            time.sleep(pause)
        else:
            _failed[server] = 0
            return answer
    raise AssertionError  # the last try returns or raises


def version_of(url: str) -> Stamp | None:
    """Asks a server for the version of a file, not for its content: for its ETag, else for its time of change.

    Returns:
        A stamp as that of a file, with the digest of the ETag in place of the inode; None if the server names no
        version or does not answer, and for an address of several protocols, whose first one may not know of changes.
    """
    server = _server(url)
    if "::" in url.partition("://")[0] or time.monotonic() < _resting.get(server, 0.0):
        return None
    try:
        system, path = _opened(url)
        return _stamp(system.info(path))
    except Exception as error:  # noqa: BLE001 - see `download`, which says what is wrong
        cause = error.__cause__
        _note_failure(server, cause if isinstance(cause, Exception) else error)
        return None


def _stamp(about: Mapping[str, Any]) -> Stamp | None:
    """Returns the stamp of a file from what fsspec or the head of an answer says about it."""
    if tag := about.get("ETag") or about.get("etag"):
        return 0, 0, 0, int.from_bytes(hashlib.blake2b(str(tag).encode(), digest_size=7).digest())
    try:
        changed = email.utils.parsedate_to_datetime(str(about["Last-Modified"]))
        size = int(about.get("size") or about.get("Content-Length") or 0)
    except (KeyError, ValueError):
        return None
    moment = int(changed.timestamp()) * 1_000_000_000
    return size, moment, moment, 0


def _server(url: str) -> str:
    return url.split("/", 3)[2]


def _note_failure(server: str, error: Exception) -> None:
    """Counts a file that could not be read, unless the server's answer was final."""
    passing = _passing(error)
    _failed[server] = _failed.get(server, 0) + 1 if passing else 0
    if passing and not getattr(error, "status", None) and _failed[server] >= _PATIENCE:
        _resting[server] = time.monotonic() + _REST_S


def _read(url: str) -> tuple[bytes, Stamp | None]:
    import fsspec

    system, path = _opened(url)
    if _is_http(url):
        data, head = fsspec.asyn.sync(system.loop, _get, system, path)
        return data, _stamp(head)
    before = version_of(url)
    data = bytes(system.cat_file(path))
    return data, before if before is not None and version_of(url) == before else None


async def _get(system: Any, url: str) -> tuple[bytes, Mapping[str, str]]:
    """Does what fsspec does to read a file, and returns the head of the answer, too."""
    session = await system.set_session()
    async with session.get(system.encode_url(url), **system.kwargs) as answer:
        data = await answer.read()
        system._raise_not_found_for_status(answer, url)
        return data, answer.headers


def _opened(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL, and the path in it."""
    import fsspec

    system, path = fsspec.core.url_to_fs(url, **_options(url))
    return system, path


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _options(url: str) -> dict[str, Any]:
    if url.lower().startswith(("s3://", "s3a://")):
        return {"config_kwargs": _LIMITS_S3}
    if not _is_http(url):
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
    if status in _NOT_FOUND or (_is_http(url) and isinstance(error, FileNotFoundError)):
        return f"not found (HTTP {status or 404})"
    if isinstance(error, FileNotFoundError):
        return "file not found"
    again = f" in {tries} tries" if tries > 1 and _passing(error) else ""
    if isinstance(status, int) and status:
        return f"refused by the server{again} (HTTP {status})"
    detail = " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__
    return f"could not be downloaded{again} ({detail})"
