"""The head of a graft as Keras layers, behind a trunk of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.errors import HeadError

CAN = (  # the end of the messages for heads that cannot
    "softmax, mlp, heads on maps, tails, and every linear head (logistic, ridge, lda, nearest_mean, svm with kernel "
    "linear, the linear classifiers of scikit-learn) can"
)


def probabilities_of(features: Any, head: Any, classes: int) -> Any:
    """Applies a head to the output of a trunk.

    Args:
        features: a Keras tensor of the head's features.
        head: the fitted head.
        classes: number of classes of the bank. One without training images, which the head does not know, has the
            probability 0.

    Returns:
        A Keras tensor (n, classes).

    Raises:
        HeadError: the head cannot become layers.
    """
    import keras

    from featurebank.heads.base import Head  # imports scikit-learn, which predictions do not need

    if not isinstance(head, Head):
        message = f"{type(head).__name__} is not a head of featurebank"
        raise HeadError(message)
    output = keras.layers.Activation("softmax", name="probabilities")(head.keras_layers_(features))
    if len(head.classes_) == classes:
        return output
    places = np.zeros((len(head.classes_), classes), np.float32)
    places[np.arange(len(places)), head.classes_] = 1
    layer = keras.layers.Dense(classes, use_bias=False, trainable=False, name="all_classes")
    output = layer(output)
    layer.set_weights([places])
    return output


def no_layers(head: str, error: HeadError, more: str) -> HeadError:
    """Returns the error for a head that cannot become layers; `more` is appended to the message."""
    return HeadError(f"{head} cannot become Keras layers ({error}): {CAN}{more}")
