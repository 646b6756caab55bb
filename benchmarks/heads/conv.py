"""How much faster are conv heads in one program than Keras `fit` one by one, and are they as good?

Eight heads of study D (a 3x3 convolution to 1024 filters with batch normalisation and max pooling, then dense layers of
512 and 218 with batch normalisation and dropout) with learning rates and dropouts of their own, on 500 made maps of
7 x 7 x 1280 in batches of 32. Keras trains one of them a round, scaled; "cold" has the compilation of the program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Contest, tensorflow
from featurebank.heads.joint_network import first_tensors
from featurebank.heads.maps.conv import ConvHead
from featurebank.heads.maps.network import train_maps_together

IMAGES, SHAPE, CLASSES, BATCH, HEADS = 500, (7, 7, 1280), 5, 32, 8
KERAS = "Keras fit, one by one"


def contests(rounds: int, *, quick: bool) -> list[Contest]:
    """Runs the contest and returns its figures.

    Args:
        rounds: how many turns each contestant has.
        quick: take a sixteenth of the channels and two heads, to see that all works.
    """
    tensorflow()
    count, epochs, channels, filters = (2, 1, 80, 64) if quick else (HEADS, 2, SHAPE[-1], 1024)
    X, y, X_val, y_val = _made(channels)
    contest = Contest(
        f"{count} conv heads of study D, {IMAGES} maps of 7 x 7 x {channels}, {epochs} epochs", count, "heads", KERAS
    )
    for turn in range(rounds):
        name = "featurebank, cold" if turn == 0 else "featurebank, warm"
        heads = [_head(place, epochs, filters) for place in range(count)]
        contest.time(name, lambda heads=heads: train_maps_together(heads, X, y))
        head = heads[turn % count]
        model = contest.time(KERAS, lambda head=head: _fit_keras(head, X, y), share=1 / count)
        contest.notes[name] = f"accuracy on 200 other maps {head.score(X_val, y_val):.3f} (that head alone)"
        theirs = float(np.mean(model.predict(X_val, verbose=0).argmax(1) == y_val))
        contest.notes[KERAS] = f"accuracy {theirs:.3f}; one head a round, scaled"
    return [contest]


def _head(place: int, epochs: int, filters: int) -> ConvHead:
    return ConvHead(
        filters=filters, conv_batch_norm="before", hidden_units=[512, 218], batch_norm="after",
        dropout=[0.25, 0.25, 0.5 - place / 40], learning_rate=1e-3 / (1 + place), batch_norm_momentum=0.9,
        epochs=epochs, batch_size=BATCH,
    )  # fmt: skip


def _made(channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns training and other maps: non-negative and of unequal scale, as those after a ReLU are."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, channels)).astype(np.float32) * 0.1
    y = rng.integers(0, CLASSES, IMAGES + 200)
    X = rng.standard_normal((len(y), *SHAPE[:2], channels), np.float32) + centres[y][:, None, None]
    X = np.maximum(X, 0) * rng.lognormal(0, 0.7, channels).astype(np.float32)
    return X[:IMAGES], y[:IMAGES], X[IMAGES:], y[IMAGES:]


def _fit_keras(head: ConvHead, X: np.ndarray, y: np.ndarray) -> Any:
    """Trains one head the plain way, from the same first weights: layers, compile, fit."""
    import keras

    norm: dict[str, Any] = {"momentum": head.batch_norm_momentum}
    first, second, third = head.dropout_rates()
    parts = [
        keras.layers.Conv2D(head.filters, 3, use_bias=False), keras.layers.BatchNormalization(**norm),
        keras.layers.ReLU(), keras.layers.MaxPooling2D(2), keras.layers.Flatten(), keras.layers.Dropout(first),
        keras.layers.Dense(512, "relu"), keras.layers.BatchNormalization(**norm), keras.layers.Dropout(second),
        keras.layers.Dense(218, "relu"), keras.layers.BatchNormalization(**norm), keras.layers.Dropout(third),
        keras.layers.Dense(CLASSES, "softmax"),
    ]  # fmt: skip
    model = keras.Sequential([keras.Input(X.shape[1:]), *parts])
    start = first_tensors(head, X.shape[1:], CLASSES)
    kernels = iter([tensor for name, tensor in start.items() if name.startswith("kernel")])
    for layer in parts:
        if hasattr(layer, "kernel"):
            layer.set_weights([next(kernels).reshape(layer.kernel.shape), *layer.get_weights()[1:]])
    model.compile(keras.optimizers.Adam(head.learning_rate), "sparse_categorical_crossentropy")
    model.fit(X, y, batch_size=BATCH, epochs=head.epochs, verbose=0)
    return model
