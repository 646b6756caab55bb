"""Reads and writes single objects of a bucket, also under conditions. Only this module knows s3fs and its client.

The client takes credentials, profile, region and endpoint from where s3fs and botocore look for them, and repeats
requests that get no answer. So a conditional PUT whose answer was lost may meet its own object: each such object
carries a random token, by which its writer recognises it.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from featurebank.errors import MissingDependencyError, StorageError
from featurebank.storage.address import Address
from featurebank.storage.refusals import CONCURRENT, MISSING, NOT_CONDITIONAL, PRECONDITION, UNCHANGED, code_of, explain
from featurebank.storage.transfers import SentFile, Transfer, mark_sent, read_body

CONNECT_S = 4.0
ANSWER_S = 30.0
ATTEMPTS = 4
"""A server that does not answer at all is given up after about ATTEMPTS * CONNECT_S seconds, and a few for pauses."""
_CONFLICTS = 8
"""How often a conditional PUT is repeated that met another one at the same moment."""
_TOKEN, _WRITER = "featurebank-token", "featurebank-writer"
_MOST_READ = 1 << 20
"""The most bytes of an object that is read into memory."""
_AT_ONCE = 32
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True)
class StoredObject:
    """What a bucket says about an object."""

    etag: str
    """Changes with the content."""
    size: int
    modified: float
    """The time at which the bucket received it, by the server's clock, in Unix seconds."""


class Expected(NamedTuple):
    """The state of an object that a conditional request expects."""

    etag: str | None
    """None: the object does not exist."""


class Objects:
    """The objects of a cache in a bucket. Keys are relative to the cache's prefix.

    Every method raises StorageError if the bucket refuses a request or does not answer, and BankReadOnlyError if the
    credentials may not write.

    Args:
        address: the cache.

    Raises:
        MissingDependencyError: s3fs is not installed.
    """

    def __init__(self, address: Address) -> None:
        try:
            import s3fs
        except ImportError as error:
            message = f"'{address}' needs s3fs, which is not installed: pip install 'featurebank[s3]'"
            raise MissingDependencyError(message) from error
        self.address = address
        self._files = s3fs.S3FileSystem(
            skip_instance_cache=True, use_listings_cache=False,
            config_kwargs={
                "connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "max_pool_connections": _AT_ONCE,
                "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            },
        )  # fmt: skip
        self._client: Any = None
        self.requests = 0
        """The number of requests so far, without repeated ones."""

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return str(self._connected().meta.endpoint_url)

    @property
    def client(self) -> Any:
        """The client of the server, for tests."""
        return self._connected()

    def check(self) -> None:
        """Raises StorageError unless the bucket exists and can be listed."""
        self._ask("list_objects_v2", Prefix=self._key(""), MaxKeys=1)

    def list(self, prefix: str = "") -> dict[str, StoredObject]:
        """Returns the objects whose keys begin with a prefix. A storage may not list its newest objects yet."""
        found, more = dict[str, StoredObject](), dict[str, Any]()
        start = len(self._key(""))
        while True:
            page = self._ask("list_objects_v2", Prefix=self._key(prefix), **more)
            for entry in page.get("Contents", ()):
                stored = StoredObject(entry["ETag"], entry["Size"], entry["LastModified"].timestamp())
                found[entry["Key"][start:]] = stored
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def head(self, key: str) -> StoredObject | None:
        """Returns what the bucket says about an object; None if it does not exist."""
        answer = self._ask("head_object", key, but=MISSING)
        return _described(answer) if isinstance(answer, dict) else None

    def read(self, key: str) -> tuple[bytes, StoredObject] | None:
        """Reads a small object; None if it does not exist. A stranger's large one seems empty."""
        pieces: list[bytes] = []
        stored = self._get(key, None, pieces.clear, pieces.append, _MOST_READ)
        return (b"".join(pieces), stored) if isinstance(stored, StoredObject) else None

    def download(self, key: str, target: Path, known: str | None = None) -> StoredObject | bool:
        """Reads an object into a file.

        Args:
            key: the object.
            target: the file; created or replaced.
            known: the ETag of the version that the caller has.

        Returns:
            What it is; or, without writing `target`: True if it still has the ETag `known`, False if it does not exist.
        """
        with target.open("wb") as file:

            def again() -> None:
                file.seek(0)
                file.truncate()

            return self._get(key, known, again, file.write)

    def put(
        self, key: str, source: bytes | Path, expected: Expected | None = None, writer: str = ""
    ) -> StoredObject | None:
        """Writes an object whole.

        Args:
            key: the object.
            source: its content, or the file that holds it.
            expected: write it only if the object is in this state.
            writer: who writes; see `written_by`.

        Returns:
            What it is now; None if it is not in the expected state.
        """
        token, size = secrets.token_hex(8), len(source) if isinstance(source, bytes) else source.stat().st_size
        about = dict[str, Any]()
        if expected:
            about["Metadata"] = {_TOKEN: token, **({_WRITER: writer} if writer else {})}
            about |= {"IfNoneMatch": "*"} if expected.etag is None else {"IfMatch": expected.etag}
        for pause in range(_CONFLICTS):
            answer = self._send(key, source, size, about)
            if isinstance(answer, dict):
                return StoredObject(answer["ETag"], size, time.time())
            if answer not in CONCURRENT:
                break
            time.sleep(0.05 * 2**pause * (0.5 + secrets.randbelow(100) / 100))
        stored = self._ask("head_object", key, but=MISSING)
        mine = isinstance(stored, dict) and stored.get("Metadata", {}).get(_TOKEN) == token
        return _described(stored) if mine else None  # the answer to an earlier attempt of the same PUT was lost

    def written_by(self, writer: str, key: str) -> StoredObject | None:
        """Returns an object if this writer has put it last, maybe by a request that was interrupted; otherwise None."""
        answer = self._ask("head_object", key, but=MISSING)
        mine = isinstance(answer, dict) and answer.get("Metadata", {}).get(_WRITER) == writer
        return _described(answer) if mine else None

    def copy(self, source: str, key: str) -> StoredObject | None:
        """Stores an object under a second key, without sending it; returns None if it does not exist."""
        where = {"Bucket": self.address.bucket, "Key": self._key(source)}
        answer = self._ask("copy_object", key, but=MISSING, writing=True, CopySource=where)
        return self.head(key) if isinstance(answer, dict) else None

    def delete(self, key: str, etag: str | None = None) -> bool:
        """Deletes an object; returns False if it is not the one with the ETag."""
        if etag is None:
            self._ask("delete_object", key, but=MISSING, writing=True)
            return True
        refusals = MISSING | PRECONDITION | CONCURRENT | NOT_CONDITIONAL
        answer = self._ask("delete_object", key, but=refusals, writing=True, IfMatch=etag)
        if isinstance(answer, str) and answer in NOT_CONDITIONAL:
            # Some storages have conditions for PUT alone; the manifest's own protects banks.
            stored = self.head(key)
            return stored is not None and stored.etag == etag and self.delete(key)
        return isinstance(answer, dict)

    def delete_all(self, keys: Iterable[str]) -> None:
        """Deletes objects."""
        names = [{"Key": self._key(key)} for key in keys]
        for start in range(0, len(names), _DELETED_AT_ONCE):
            part = {"Objects": names[start : start + _DELETED_AT_ONCE], "Quiet": True}
            answer = self._ask("delete_objects", writing=True, Delete=part)
            if errors := answer.get("Errors"):
                message = f"'{self.address}' did not delete '{errors[0].get('Key')}': {errors[0].get('Message')}"
                raise StorageError(message)

    def _send(self, key: str, source: bytes | Path, size: int, about: dict[str, Any]) -> Any:
        """Sends one PUT; returns the answer, or the code with which a condition was refused."""
        but = PRECONDITION | CONCURRENT | MISSING if about else set[str]()
        if isinstance(source, bytes):
            return self._ask("put_object", key, but=but, writing=True, Body=source, **about)
        with Transfer(f"sending {Path(key).name}", size) as shown, SentFile(source, shown) as file:
            return self._ask("put_object", key, but=but, writing=True, Body=file, **about)

    def _get(
        self, key: str, known: str | None, begin: Callable[[], Any], write: Callable[[bytes], Any],
        most: float = math.inf,
    ) -> StoredObject | bool:  # fmt: skip
        about: dict[str, Any] = {"IfNoneMatch": known} if known else {}
        for attempt in range(ATTEMPTS):
            begin()
            answer = self._ask("get_object", key, but=MISSING | UNCHANGED, **about)
            if not isinstance(answer, dict):
                return answer in UNCHANGED
            stored = _described(answer)
            if stored.size > most:
                answer["Body"].close()
                return stored
            with Transfer(f"fetching {Path(key).name}", stored.size) as shown:
                if self._run(read_body, answer["Body"], write, shown) == stored.size:
                    return stored
            time.sleep(0.1 * 2**attempt)  # the connection ended within the object
        message = f"'{self.address}' did not send the whole object '{key}': run the same command again later"
        raise StorageError(message)

    def _ask(
        self, method: str, key: str | None = None, *, but: Iterable[str] = (), writing: bool = False, **about: Any
    ) -> Any:
        """Sends a request; returns the answer, or the code of a refusal that is in `but`."""
        if key is not None:
            about["Key"] = self._key(key)
        self.requests += 1
        try:
            return self._run(getattr(self._connected(), method), Bucket=self.address.bucket, **about)
        except Exception as error:
            if (code := code_of(error)) in set(but) and code:
                return code
            raise explain(error, self.address, writing=writing) from error

    def _run(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        from fsspec.asyn import sync

        return sync(self._files.loop, call, *arguments, **options)

    def _connected(self) -> Any:
        if self._client is None:
            try:
                self._client = self._files.s3
            except Exception as error:
                raise explain(error, self.address, writing=False) from error
            self._client.meta.events.register("before-send.s3.PutObject", mark_sent)
        return self._client

    def _key(self, key: str) -> str:
        return f"{self.address.prefix}/{key}" if self.address.prefix else key


def _described(answer: dict[str, Any]) -> StoredObject:
    return StoredObject(answer["ETag"], int(answer["ContentLength"]), answer["LastModified"].timestamp())
