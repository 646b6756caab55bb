"""The families of heads with epochs: which of their heads are trained at the same time."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """Heads that are trained by one function, their `train_heads`: together where they can be."""

    name: str
    module: str
    """It has `programs`, which says who shares a program."""
    in_memory: bool = False
    """Whether all features of the images must be in memory; others are read from the bank as they are needed."""

    def programs(self, heads: Sequence[Any], shape: tuple[int, ...], classes: int, images: int) -> list[list[int]]:
        """Returns the positions of the heads that are trained at the same time, program by program.

        Args:
            heads: to be trained; all of the family.
            shape: of one image's features.
            classes: how many there are.
            images: how many are trained on.

        Raises:
            HeadError: the maps are too small for a head.
        """
        found: list[list[int]] = importlib.import_module(self.module).programs(heads, shape, classes, images)
        return found


DENSE = Family("dense", "featurebank.heads.neural.together", in_memory=True)
CAM = Family("cam", "featurebank.heads.neural.cam")
MAPS = Family("maps", "featurebank.heads.maps.network")
LAYERED = Family("layered", "featurebank.heads.layered.network")
