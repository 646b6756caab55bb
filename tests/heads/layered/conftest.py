"""The tiny networks of these tests are loaded once: a tail loads its network whenever it is built."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from featurebank.backbone import Backbone
from featurebank.backbone.catalog import load_network
from featurebank.backbone.options import BackboneOptions
from featurebank.heads.layered import tail


@cache
def remembered(name: str) -> Backbone:
    """Returns the network that all tails of these tests have in common; they copy its layers."""
    return load_network(name, BackboneOptions())


def load(name: str, options: BackboneOptions) -> Backbone:
    is_tiny = name.startswith("tiny:") and options == BackboneOptions()
    return remembered(name) if is_tiny else load_network(name, options)


@pytest.fixture(scope="module", autouse=True)
def _one_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "load_network", load)
        yield


@pytest.fixture(scope="module")
def inverted() -> Backbone:
    return remembered("tiny:inverted")


@pytest.fixture(scope="module")
def transformer() -> Backbone:
    return remembered("tiny:transformer")
