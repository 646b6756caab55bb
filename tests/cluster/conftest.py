"""A cluster of two local workers, which the tests of a process share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clusters import dask_client  # noqa: F401 - a fixture

from featurebank.cluster.client import Cluster, connect


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with connect("local:2") as connected:
        connected.wait_for_workers(least=2)
        yield connected


@pytest.fixture
def scheduler(dask_client: Any) -> str:  # noqa: F811
    """The address of a scheduler that a user could have started, with two workers."""
    return str(dask_client.scheduler.address)
