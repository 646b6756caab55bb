"""The CAM head: a 1x1 convolution to one map a class, averaged over the places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.layers import weighted
from featurebank.heads.linear import SoftmaxHead
from featurebank.heads.maps import as_maps, blocks, in_order, pooled
from featurebank.heads.on_maps import times


@dataclass(kw_only=True, eq=False, repr=False)
class CamHead(SoftmaxHead):
    """One map a class, whose average is the class's logit: `class_maps` shows what speaks for it, and where.

    The average of a 1x1 convolution is that of the map put through it, so the head is trained on the averaged channels,
    joined with others like a softmax head, and never sees a map of 49 places when it could see their mean.

    Args:
        learning_rate: see `TrainedHead`, as for all the others.
        dropout: rate of the averaged channels.

    References:
        Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative Localization", CVPR 2016,
        arXiv:1512.04150.
    """

    needs_map = True

    def fit(self, X: Any, y: np.ndarray, validation_data: tuple[Any, np.ndarray] | None = None) -> Self:
        """Trains the head alone.

        Args:
            X: (n, h, w, c) features, or maps in a bank.
            y: (n,) labels.
            validation_data: features and labels for early stopping; None runs all epochs.

        Raises:
            HeadError: as `MapHead.fit`.
        """
        self.check()
        averaged = None if validation_data is None else (pooled(as_maps(validation_data[0])), validation_data[1])
        return super().fit(pooled(as_maps(X)), y, averaged)

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained: on averages, whatever the maps' size."""
        return super().working_bytes(images, shape[-1:], classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `classes_`.

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        return super().predict_proba(pooled(self._maps(X)))

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph: a 1x1 convolution to the class maps, then their average; see `Head.keras_layers_`.

        So the class maps are the output of a layer, `head_class_maps`.
        """
        import keras

        layer = self.layers_[0]
        convolution = keras.layers.Conv2D(layer.kernel.shape[1], 1, name="head_class_maps")
        found = weighted(convolution, tensor, [layer.kernel[None, None], layer.bias])
        return keras.layers.GlobalAveragePooling2D(name="head_logits")(found)

    def class_maps(self, X: Any) -> np.ndarray:
        """Returns what each place says for each class: (n, h, w, classes) float32; their average are the logits.

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        maps = self._maps(X)
        layer = self.layers_[0]
        found = [block @ layer.kernel + layer.bias for block in blocks(maps, in_order(maps, 64))]
        return np.concatenate([np.empty((0, *maps.shape[1:3], len(self.classes_)), np.float32), *found])

    def _maps(self, X: Any) -> Any:
        if not hasattr(self, "n_features_in_"):
            message = f"{type(self).__name__} is not fitted yet: call fit first"
            raise HeadError(message)
        maps = as_maps(X)
        if maps.shape[-1] != self.n_features_in_:
            message = f"the maps are {times(maps.shape[1:])}, the head was trained on {self.n_features_in_} channels"
            raise HeadError(message)
        return maps
