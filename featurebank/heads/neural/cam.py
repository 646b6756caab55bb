"""The CAM head: a 1x1 convolution to one map a class, averaged over the places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.heads.inputs import TrainingRows, check_fitted, maps_to_fit, plain_maps
from featurebank.heads.joint_network import programs
from featurebank.heads.keras_layers import averaged_class_maps
from featurebank.heads.maps.data import MapData
from featurebank.heads.maps.on_maps import wrong_shape
from featurebank.heads.maps.stored import as_maps, blocks, in_order, pooled
from featurebank.heads.needs import MAPS
from featurebank.heads.neural.network import DenseData, DenseNetwork
from featurebank.heads.neural.softmax import SoftmaxHead
from featurebank.heads.trained import Trainer


def _averaged(
    X: Any, y: np.ndarray, validation: tuple[Any, np.ndarray] | None, views: Sequence[Any] = (),
    weights: np.ndarray | None = None,
) -> DenseData:  # fmt: skip
    """Checks maps and labels, and returns the average of each map; raises the errors of `MapData.of`."""
    data = MapData.of(X, y, validation, views)
    averages, *more = (pooled(data.X, view=view) for view in range(data.X.views))
    held_out = data.validation and (pooled(data.validation[0]), data.classes[data.validation[1]])
    return DenseData.of(averages, data.classes[data.y], held_out, more, weights)


train_cams = Trainer(_averaged, programs, DenseNetwork)
"""Trains heads on the averages of the same maps."""


@dataclass(kw_only=True, eq=False, repr=False)
class CamHead(SoftmaxHead):
    """One map a class, whose average is the class's logit: `class_maps` shows what speaks for it, and where.

    The average of a 1x1 convolution of a map is the convolution of the average. So the head is trained on averaged
    channels, in one program with others like a softmax head, and never reads the 49 places of a map.

    Args:
        learning_rate: see `TrainingOptions`, as for all the others.
        dropout: rate of the averaged channels.

    References:
        Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative Localization", CVPR 2016,
        arXiv:1512.04150.
    """

    needs = MAPS
    streams = False
    train_heads = train_cams

    def checked_shape(self, X: Any) -> tuple[int, ...]:
        """Returns the shape (n, h, w, c) of maps to train on; see `TrainedHead.checked_shape`."""
        return as_maps(X).shape

    def trained_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the averages, whatever the maps' size."""
        return shape[-1:]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `classes_`.

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        return self._answer(pooled(self._maps(X)))

    def trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of a map of one place; see `Head.trial_shape`."""
        return (1, 1, self.n_features_in_)

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph: a 1x1 convolution to the class maps, then their average; see `Head.keras_layers_`.

        So the class maps are the output of a layer, `head_class_maps`.
        """
        kernel, bias = self.layers_[0].kernel, self.layers_[0].bias
        return averaged_class_maps(tensor, kernel.shape[1], weights=[kernel[None, None], bias])

    def class_maps(self, X: Any) -> np.ndarray:
        """Returns what each place says for each class: (n, h, w, classes) float32; their average are the logits.

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        maps = self._maps(X)
        layer = self.layers_[0]
        logits = [block @ layer.kernel + layer.bias for block in blocks(maps, in_order(maps, 64))]
        return np.concatenate([np.empty((0, *maps.shape[1:3], len(self.classes_)), np.float32), *logits])

    def _maps(self, X: Any) -> Any:
        check_fitted(self)
        maps = as_maps(plain_maps(self, X))
        if maps.shape[-1] != self.n_features_in_:
            raise wrong_shape(self, maps.shape[1:], (*maps.shape[1:-1], self.n_features_in_))
        return maps

    def _training_rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        return maps_to_fit(self, X, y, sample_weight)

    def _validation_inputs(self, X: Any) -> Any:
        return plain_maps(self, X)
