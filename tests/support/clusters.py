"""Dask clusters of this machine, with real processes as workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def dask_client() -> Iterator[Any]:
    """A client of two workers, each a process with two threads; the tests of a session share them."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0")
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client
