"""Builds networks without drawing initial weights that a file or a seed is about to replace.

Drawing them takes up to half of the time in which Keras builds a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from featurebank.backbone.keras_networks.graph import snake_case

_RANDOM = (
    "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "RandomNormal",
    "RandomUniform", "TruncatedNormal", "VarianceScaling",
)  # fmt: skip


@contextmanager
def zeros_at_first() -> Iterator[None]:
    """Lets Keras start with zeros where a layer asks for random weights by the name of an initializer."""
    import keras

    stand_ins = {name: _stand_in(getattr(keras.initializers, name)) for name in _RANDOM}
    with keras.saving.custom_object_scope(stand_ins | {snake_case(name): kind for name, kind in stand_ins.items()}):
        yield


def restore_initializers(model: Any) -> None:
    """Gives layers that were built with `zeros_at_first` the initializers that they asked for.

    They are a part of the configuration of a network, which model files store.
    """
    for layer in model.layers:
        for name, value in list(vars(layer).items()):
            if original := getattr(value, "original_initializer", None):
                setattr(layer, name, original())


def _stand_in(kind: Any) -> Any:
    """Returns a class that takes the place of an initializer, and fills with zeros."""
    import keras

    class StandIn(keras.initializers.Initializer):  # type: ignore[misc]
        def __init__(self, **config: Any) -> None:
            self._config = config

        def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
            return keras.ops.zeros(shape, dtype)

        def get_config(self) -> dict[str, Any]:
            return dict(self._config)

        def original_initializer(self) -> Any:
            return kind(**self._config)

    StandIn.__name__ = kind.__name__  # a copy of a layer finds it by this name
    return StandIn
