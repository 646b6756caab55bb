"""The address of a cache in a bucket, as the user writes it: s3://BUCKET or s3://BUCKET/PREFIX."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from featurebank.errors import ConfigError

SCHEME = "s3://"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""The beginning of a URL, also of one that pathlib has shortened; a single letter is a drive of Windows."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PART = re.compile(r"[\w .+=@-]{1,200}")


@dataclass(frozen=True)
class Address:
    """A bucket, and the common beginning of the keys of a cache's objects in it."""

    bucket: str
    prefix: str = ""
    """Without a slash at its ends; empty for the whole bucket."""

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}{f'/{self.prefix}' if self.prefix else ''}"


def parse_address(cache: str | os.PathLike[str]) -> Address | None:
    """Reads the address of a cache; returns None for a directory.

    Raises:
        ConfigError: it is a URL that is not an address of a bucket.

    Example:
        >>> parse_address("s3://lab/flowers/cache/")
        Address(bucket='lab', prefix='flowers/cache')
        >>> parse_address("cache") is None
        True
        >>> parse_address("s3://")
        Traceback (most recent call last):
        featurebank.errors.ConfigError: the cache is 's3://': expected a bucket, as s3://BUCKET/PREFIX
    """
    text = os.fspath(cache)
    match = _URL.match(text)
    if not match:
        return None
    if match[1].lower() != "s3":
        message = f"the cache is '{text}': expected a directory, or s3://BUCKET/PREFIX; no other storage is supported"
        raise ConfigError(message)
    if not text.startswith(SCHEME):
        shown = f"{SCHEME}{text[match.end() :].lstrip('/')}"
        message = f"the cache is '{text}': expected two slashes, as {shown} (in Python, a text: a Path drops one)"
        raise ConfigError(message)
    bucket, _, prefix = text[len(SCHEME) :].partition("/")
    if not bucket:
        message = f"the cache is '{text}': expected a bucket, as {SCHEME}BUCKET/PREFIX"
        raise ConfigError(message)
    parts = [part for part in prefix.split("/") if part]
    wrong = [part for part in parts if not (_PART.fullmatch(part) and part.strip("."))]
    if wrong or not _BUCKET.fullmatch(bucket):
        message = (
            f"the cache is '{text}': '{[*wrong, bucket][0]}' is not the name of a bucket or a folder; expected "
            "letters, digits and '.', '_', '-' (in a folder also blanks and '+', '=', '@')"
        )
        raise ConfigError(message)
    return Address(bucket, "/".join(parts))
