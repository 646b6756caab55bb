"""What Keras makes of a head's first weights, its batches and its options.

It trains for a few dozen steps, which run at once: to trace and to optimise the graph of a step takes longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def optimizer_of(head: Any, steps: int) -> Any:
    """The optimizer of a head; `steps` an epoch."""
    import keras

    rate: Any = head.learning_rate
    if head.schedule == "inverse_time":
        rate = keras.optimizers.schedules.InverseTimeDecay(rate, 1, head.decay)
    elif head.schedule == "exponential":
        rate = keras.optimizers.schedules.ExponentialDecay(rate, steps, head.decay)
    elif head.schedule == "cosine":
        warm = int(head.warmup * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warm else rate, head.epochs * steps - warm, warmup_target=rate if warm else None, warmup_steps=warm
        )
    decay = {"weight_decay": head.weight_decay} if head.weight_decay is not None else {}
    makers = {
        "adam": lambda: keras.optimizers.Adam(rate, **decay),
        "adamw": lambda: keras.optimizers.AdamW(rate, **decay),
        "sgd": lambda: keras.optimizers.SGD(rate, head.momentum, nesterov=head.nesterov, **decay),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate, momentum=head.momentum, **decay),
        "adagrad": lambda: keras.optimizers.Adagrad(rate, **decay),
    }
    return makers[head.optimizer]()


def batches(head: Any, *arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the batches of a head's epochs for ever: one `fit` of Keras for all epochs, which begins only once."""
    random = np.random.default_rng(head.random_state)
    while True:
        order = random.permutation(len(arrays[0]))
        for start in range(0, len(order), head.batch_size):
            yield tuple(array[order[start : start + head.batch_size]] for array in arrays)


def fit(model: Any, head: Any, X: np.ndarray, y: np.ndarray) -> Any:
    """Trains a model, which ends with a softmax, on a head's batches."""
    import keras

    classes, positions = np.unique(y, return_inverse=True)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=head.label_smoothing)
    model.compile(optimizer_of(head, -(-len(X) // head.batch_size)), loss, metrics=["accuracy"], run_eagerly=True)
    targets = np.eye(len(classes), dtype=np.float32)
    plateau = keras.callbacks.ReduceLROnPlateau(
        "loss", factor=head.plateau_factor, patience=head.plateau_patience, min_lr=head.plateau_floor
    )
    weights = head.class_weights(positions, len(classes)) if head.class_weight is not None else np.ones(len(classes))
    model.fit(
        batches(head, X, targets[positions], weights[positions].astype(np.float32)), epochs=head.epochs,
        steps_per_epoch=-(-len(X) // head.batch_size), verbose=0, shuffle=False,
        callbacks=[plateau] if head.schedule == "plateau" else [],
    )  # fmt: skip
    return model


def fit_watched(
    model: Any, head: Any, X: np.ndarray, y: np.ndarray, validation: tuple[np.ndarray, np.ndarray],
    sample_weight: np.ndarray | None = None,
) -> Any:  # fmt: skip
    """Trains as `fit`, with Keras's own early stopping (best weights) and plateau; returns Keras's history.

    Its `epoch` is the one whose weights were kept, counted from 1.
    """
    import keras

    classes, positions = np.unique(y, return_inverse=True)
    targets = np.eye(len(classes), dtype=np.float32)
    weights = head.class_weights(positions, len(classes), classes.tolist()).astype(np.float32)[positions]
    weights = weights if sample_weight is None else weights * sample_weight.astype(np.float32)

    steps = -(-len(X) // head.batch_size)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=head.label_smoothing)
    model.compile(optimizer_of(head, steps), loss, metrics=["accuracy"], run_eagerly=True)
    stopping = keras.callbacks.EarlyStopping(head.monitor, head.min_delta, head.patience, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(
        head.monitor, factor=head.plateau_factor, patience=head.plateau_patience, min_lr=head.plateau_floor
    )
    held = validation[0], targets[np.searchsorted(classes, validation[1])]
    found = model.fit(
        batches(head, X, targets[positions], weights), validation_data=held, epochs=head.epochs,
        steps_per_epoch=steps, verbose=0, shuffle=False, validation_batch_size=len(held[0]),
        callbacks=[stopping, plateau] if head.schedule == "plateau" else [stopping],
    )  # fmt: skip
    return {**found.history, "best_epoch": stopping.best_epoch + 1}


NAMES = ("loss", "accuracy", "val_loss", "val_accuracy")


def assert_same_course(found: Any, expected: Any, *, tolerance: float = 1e-4) -> None:
    """Asserts that a head's history is Keras's: each value of each epoch, when it ended, and which epoch was kept."""
    for name in NAMES:
        assert len(getattr(found, name)) == len(expected[name]), name
        np.testing.assert_allclose(getattr(found, name), expected[name], atol=tolerance, rtol=tolerance, err_msg=name)
    assert found.best_epoch == expected["best_epoch"]
