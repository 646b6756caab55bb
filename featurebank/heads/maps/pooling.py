"""Heads that learn how to pool a map: by attention over its places, or by a generalised mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.heads.maps.base import MapHead
from featurebank.heads.maps.network import train_maps_together
from featurebank.heads.maps.stems import AttentionStem, GemStem
from featurebank.heads.maps.stored import blocks, in_order
from featurebank.system.validation import ParameterCheck, count, number


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionPoolHead(MapHead):
    """A softmax over the places of the map, one for each query, weighs what goes into the vector.

    A query is a vector of one weight a channel; its score at a place is their product. The averages that the queries
    take, side by side, are what the dense layers see.

    Args:
        queries: how many.
        hidden_units: see `MapHead`, as for the dense layers' other parameters.
        learning_rate: see `TrainingOptions`, as for all the others.

    References:
        Ilse, Tomczak, Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, arXiv:1802.04712.
    """

    queries: int = 1

    train_heads = train_maps_together

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        return [*super().checks(), count("queries", self.queries)]

    def stem(self) -> AttentionStem:
        """Returns what turns a map into the vector that the dense layers take."""
        return AttentionStem(self.queries)

    def attention_maps(self, X: Any) -> np.ndarray:
        """Returns the share of each place in each query's average: (n, h, w, queries).

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        maps = self._maps(X)
        height, width = maps.shape[1:3]
        parts = [np.empty((0, height, width, self.queries), np.float32)]
        for block in blocks(maps, in_order(maps, 64)):
            flat = self.prepared(block).reshape(len(block), -1, maps.shape[-1])
            weights = self.stem().shares(flat, self.tensors_)
            parts.append(weights.transpose(0, 2, 1).reshape(-1, height, width, self.queries))
        return np.concatenate(parts)


@dataclass(kw_only=True, eq=False, repr=False)
class GemPoolHead(MapHead):
    """The generalised mean over the places, (mean of x ** p) ** (1 / p), with a learned p of 1 or more.

    p = 1 is average pooling, a large p comes near max pooling. Values below 1e-6 count as that: on maps after a ReLU
    that is all as it should be, and features are not standardised.

    Args:
        power: the p to begin with.
        hidden_units: see `MapHead`, as for the dense layers' other parameters.
        learning_rate: see `TrainingOptions`, as for all the others.

    References:
        Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018,
        arXiv:1711.02512.
    """

    power: float = 3.0

    train_heads = train_maps_together

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        unscaled = ParameterCheck(
            "standardize", self.standardize, "false: a power of a negative number is none", not self.standardize
        )
        least = number("power", self.power)
        holds = least.holds and float(self.power) >= 1
        return [*super().checks(), least._replace(expected="a number of 1 or more", holds=holds), unscaled]

    def stem(self) -> GemStem:
        """Returns what turns a map into the vector that the dense layers take."""
        return GemStem(float(self.power))
