"""Buckets on the loopback."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from buckets import Machine, bucket_server, environment, new_bucket

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server of buckets."""
    with bucket_server() as url:
        yield url


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a new bucket, which the environment makes reachable."""
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with new_bucket(f"features-{next(_numbers)}") as address:
        yield address


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """This process as a machine without mirrors."""
    with Machine(tmp_path / "mirrors").used() as one:
        yield one
