"""Fixtures of grids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grids import partners
from processes import ended


@pytest.fixture(autouse=True)
def no_partner_is_left() -> Iterator[None]:
    yield
    while partners:
        with ended(partners.pop()):
            pass


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, int]]:
    """What is trained from now on: specification and seed of each head."""
    from featurebank.grid import worker

    found: list[tuple[Any, int]] = []
    fit = worker.fit_heads

    def spy(specs: Any, *rest: Any) -> None:
        found.extend(specs)
        fit(specs, *rest)

    monkeypatch.setattr(worker, "fit_heads", spy)
    return found


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which nothing may be trained."""

    def fit_heads(specs: Any, *_: Any) -> None:
        pytest.fail(f"{specs} would be trained")

    return lambda: monkeypatch.setattr("featurebank.grid.worker.fit_heads", fit_heads)
