"""The CAM head: a 1x1 convolution to one map a class, averaged over the places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.keras_layers import weighted
from featurebank.heads.maps.data import MapData
from featurebank.heads.maps.on_maps import times
from featurebank.heads.maps.stored import as_maps, blocks, in_order, pooled
from featurebank.heads.needs import MAPS
from featurebank.heads.neural.softmax import SoftmaxHead
from featurebank.heads.neural.together import programs as dense_programs
from featurebank.heads.neural.together import train_together
from featurebank.training.batches import OnHead


def train_cams(
    heads: Sequence[CamHead],
    X: Any,
    y: np.ndarray,
    validation_data: tuple[Any, np.ndarray] | None = None,
    *,
    views: Sequence[Any] = (),
    on_trained: OnHead | None = None,
) -> list[str | None]:
    """Trains heads on the averages of the same maps; see `train_together`.

    Args:
        heads: to be fitted in place.
        X: (n, h, w, c) features, or maps in a bank.
        y: (n,) labels.
        validation_data: for early stopping; None runs all epochs.
        views: further views of the images of X, each like X.
        on_trained: called as soon as a head stops.

    Returns:
        For each head None, or in one line why it failed.

    Raises:
        HeadError: a parameter is out of its range, features are no maps or not finite, or there is only one class.
    """
    for head in heads:
        head.check()
    data = MapData.of(X, y, validation_data, views)
    averages, *more = (pooled(data.X, view=view) for view in range(data.X.views))
    held_out = data.validation and (pooled(data.validation[0]), data.classes[data.validation[1]])
    return train_together(heads, averages, data.classes[data.y], held_out, views=more, on_trained=on_trained)


def programs(heads: Sequence[CamHead], shape: tuple[int, ...], classes: int, images: int = 0) -> list[list[int]]:
    """Returns the positions of the heads of each program; see `featurebank.heads.neural.together.programs`."""
    return dense_programs(heads, shape[-1:], classes)


@dataclass(kw_only=True, eq=False, repr=False)
class CamHead(SoftmaxHead):
    """One map a class, whose average is the class's logit: `class_maps` shows what speaks for it, and where.

    The average of a 1x1 convolution is that of the map put through it, so the head is trained on the averaged channels,
    joined with others like a softmax head, and never sees a map of 49 places when it could see their mean.

    Args:
        learning_rate: see `TrainingOptions`, as for all the others.
        dropout: rate of the averaged channels.

    References:
        Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative Localization", CVPR 2016,
        arXiv:1512.04150.
    """

    needs = MAPS
    train_heads = staticmethod(train_cams)

    def checked_shape(self, X: Any) -> tuple[int, ...]:
        """Returns the shape (n, h, w, c) of maps to train on; see `TrainedHead.checked_shape`."""
        return as_maps(X).shape

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained: on averages, whatever the maps' size."""
        return super().working_bytes(images, shape[-1:], classes)

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        return super().cost(images, shape[-1:], classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `classes_`.

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        return super().predict_proba(pooled(self._maps(X)))

    def trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of a map of one place; see `Head.trial_shape`."""
        return (1, 1, self.n_features_in_)

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
