"""Buckets on the loopback."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from buckets import BUCKET, Machine, environment, server_with_bucket

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server of buckets."""
    with server_with_bucket() as url:
        yield url


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty part of a bucket, which the environment makes reachable."""
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return f"s3://{BUCKET}/{next(_numbers)}"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """This process as a machine without mirrors."""
    with Machine(tmp_path / "mirrors").used() as one:
        yield one
