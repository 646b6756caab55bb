"""How much faster are heads in one program than Keras `fit` one by one, and are they as good?

64 softmax heads, 16 learning rates by 4 penalties, and 16 MLPs of 1024 and 512 units with dropout; 15 epochs in batches
of 32 with Adam. "cold" is the first call in a process, with the compilation of the program; "warm" the ones after it.
Keras trains a part of the heads in each round (its time grows by the head).

The roofline of the MLPs: a step of Adam reads parameters and two slots and writes them back, six passes over 4 bytes
for each weight, whoever computes it; what that makes in a second is set against the bandwidth of a plain copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.harness import Contest
from benchmarks.heads.made import CLASSES, FEATURES, IMAGES, Data
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.mlp import MLPHead
from featurebank.heads.neural.softmax import SoftmaxHead
from featurebank.heads.neural.together import train_together

EPOCHS, BATCH = 15, 32
HIDDEN = (1024, 512)
_KERAS = "Keras fit, one by one"


def contests(rounds: int, data: Data, *, quick: bool) -> list[Contest]:
    """Runs the contests and returns their figures."""
    epochs = 2 if quick else EPOCHS
    softmax = [
        SoftmaxHead(learning_rate=float(rate), l2=penalty, epochs=epochs, standardize=True)
        for rate in np.logspace(-4, -2, 16)
        for penalty in (0.0, 1e-4, 1e-3, 1e-2)
    ]
    mlps = [
        MLPHead(hidden_units=HIDDEN, dropout=dropout, learning_rate=float(rate), epochs=epochs, standardize=True)
        for rate in np.logspace(-4, -3, 8)
        for dropout in (0.25, 0.5)
    ]
    found = [
        _contest(f"64 softmax heads, {epochs} epochs", softmax, data, rounds, sample=2 if quick else 8),
        _contest(f"16 MLPs of 1024 and 512 units, {epochs} epochs", mlps, data, rounds, sample=1 if quick else 2),
    ]
    _roofline(found[1], epochs)
    return found


def _contest(question: str, heads: Sequence[NeuralHead], data: Data, rounds: int, *, sample: int) -> Contest:
    contest = Contest(question, len(heads), "heads", _KERAS)
    ours: dict[int, float] = {}
    theirs: dict[int, float] = {}
    X, y, X_val, y_val = data
    for turn in range(rounds):
        name = "featurebank, cold" if turn == 0 else "featurebank, warm"
        contest.time(name, lambda: train_together(heads, X, y))
        ours = {i: float(np.mean(head.predict(X_val) == y_val)) for i, head in enumerate(heads)}
        tried = range(turn % (len(heads) // sample), len(heads), len(heads) // sample)
        models = contest.time(
            _KERAS,
            lambda tried=tried: {i: _fit_keras(heads[i], X, y) for i in tried},
            share=len(tried) / len(heads),
            note=f"{len(tried)} heads a round, scaled",
        )
        theirs |= {i: float(np.mean(m(X_val).numpy().argmax(1) == y_val)) for i, m in models.items()}
    mean = {name: np.mean([found[i] for i in theirs]) for name, found in (("K", theirs), ("f", ours))}
    contest.notes[_KERAS] += f"; validation accuracy {mean['K']:.4f} ({len(theirs)} heads)"
    for name in contest.seconds.keys() - {_KERAS}:
        contest.notes[name] = f"validation accuracy {mean['f']:.4f} (the same heads)"
    return contest


def _roofline(contest: Contest, epochs: int) -> None:
    """Notes how far the program is from moving the optimizer's state as fast as memory allows."""
    sizes = (FEATURES, *HIDDEN, CLASSES)
    weights = sum((a + 1) * b for a, b in pairwise(sizes))
    moved = contest.work * weights * 4 * 6 * epochs * -(-IMAGES // BATCH)
    name = "featurebank, warm" if "featurebank, warm" in contest.seconds else "featurebank, cold"
    rate, limit = moved / min(contest.seconds[name]) / 1e9, _bandwidth() / 1e9
    contest.notes[name] += f"; {rate:.1f} GB/s of Adam's state, a copy moves {limit:.1f}"


def _bandwidth() -> float:
    """Returns the bytes a second that a copy in TensorFlow reads and writes together."""
    from benchmarks.harness import tensorflow

    tf = tensorflow()
    source = tf.random.normal((64 << 20,))
    copy: Callable[[Any], Any] = tf.function(lambda x: x + 1.0, jit_compile=True)
    copy(source)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        copy(source)[:1].numpy()
        best = min(best, time.perf_counter() - began)
    return 2 * 4 * (64 << 20) / best


def _fit_keras(head: NeuralHead, X: np.ndarray, y: np.ndarray) -> Any:
    """Trains one head the plain way: standardised features, Dense and Dropout, compile, fit."""
    import keras

    scaling = keras.layers.Normalization()
    scaling.adapt(X)
    layers: list[Any] = []
    for units in head.layer_sizes():
        layers += [keras.layers.Dense(units, "relu"), keras.layers.Dropout(head.dropout_rates()[0])]
    penalty = keras.regularizers.L2(head.l2) if head.l2 else None
    layers.append(keras.layers.Dense(CLASSES, activation="softmax", kernel_regularizer=penalty))
    model = keras.Sequential([keras.Input((FEATURES,)), *layers])
    model.compile(keras.optimizers.Adam(head.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(scaling(X).numpy(), y, batch_size=BATCH, epochs=head.epochs, verbose=0)
    return keras.Sequential([keras.Input((FEATURES,)), scaling, *model.layers])
