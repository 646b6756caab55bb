"""Training of dense heads, those of one shape in one program, in memory or block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.heads.joint_network import programs
from featurebank.heads.neural.network import DenseData, DenseNetwork
from featurebank.heads.neural.streamed import StreamedData, StreamedNetwork, is_streamed
from featurebank.heads.trained import Trainer


def _data(
    X: Any, y: np.ndarray, validation: tuple[Any, np.ndarray] | None, views: Sequence[Any] = (),
    weights: np.ndarray | None = None,
) -> DenseData | StreamedData:  # fmt: skip
    """Checks features and labels; raises the errors of `DenseData.of`."""
    kind = StreamedData if is_streamed(X, validation) else DenseData
    return kind.of(X, y, validation, views, weights)


def _network(heads: Sequence[Any], data: DenseData | StreamedData) -> DenseNetwork | StreamedNetwork:
    """Returns the network of heads of one program."""
    return StreamedNetwork(heads, data) if isinstance(data, StreamedData) else DenseNetwork(heads, data)


train_together = Trainer(_data, programs, _network)
"""Trains heads on vectors, in memory or in a bank; maps are flattened."""
