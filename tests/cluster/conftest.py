"""A cluster of two local workers, which the tests of a process share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from featurebank.cluster.client import Cluster, connect


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with connect("local:2") as connected:
        connected.wait_for_workers(least=2)
        yield connected
