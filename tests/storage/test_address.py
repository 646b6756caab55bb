"""Addresses of caches in buckets, as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.errors import ConfigError
from featurebank.storage.address import Address, parse_address


@pytest.mark.parametrize("text", ["cache", "/data/cache", "~/cache", "C:/cache", "D:\\cache", "s3", "./s3:", Path("x")])
def test_a_directory_is_no_address(text: str | Path) -> None:
    assert parse_address(text) is None


@given(
    st.from_regex(r"[a-z0-9][a-z0-9.-]{2,20}", fullmatch=True),
    st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,9}", fullmatch=True), max_size=3),
)
def test_an_address_is_read_back_as_it_is_shown(bucket: str, parts: list[str]) -> None:
    address = Address(bucket, "/".join(parts))
    assert parse_address(str(address)) == parse_address(f"{address}/") == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://", "the cache is 's3://': expected a bucket, as s3://BUCKET/PREFIX"),
        ("s3:///x", "expected a bucket"),
        ("s3:/x", "expected two slashes, as s3://x"),
        (Path("s3://bucket/x"), "expected two slashes, as s3://bucket/x .in Python, a text: a Path drops one"),
        ("gs://bucket/x", "the cache is 'gs://bucket/x': expected a directory, or s3://BUCKET/PREFIX; no other"),
        ("http://host/x", "expected a directory, or s3://BUCKET/PREFIX"),
        ("S3://bucket", "expected two slashes, as s3://bucket"),
        ("s3://buc ket/x", "'buc ket' is not the name of a bucket"),
        ("s3://bucket/../x", "'..' is not the name of a bucket or a folder"),
        ("s3://bucket/a?b", "'a.b' is not the name of a bucket or a folder"),
    ],
)
def test_what_is_no_address_is_explained(text: str | Path, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_address(text)
