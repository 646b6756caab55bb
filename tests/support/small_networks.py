"""Networks of the table with random weights, as small as they go, built once a process for all rooms."""

from __future__ import annotations

from functools import cache

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.table import TABLE


def smallest(name: str, weights: str = "random:0") -> Backbone:
    """A network at the smallest size at which its last map has several places or it takes no smaller one."""
    spec = TABLE[name]
    return load_backbone(name, weights=weights, image_size=64 if spec.normalizes_average else spec.minimum_size)


@cache
def small(name: str) -> Backbone:
    """The network of the seed 0; not to be changed."""
    return smallest(name)
