"""Fixtures of fits in other processes."""

from __future__ import annotations

from clusters import dask_client  # noqa: F401 - a fixture
