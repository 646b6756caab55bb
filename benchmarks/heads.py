"""How much faster are 64 softmax heads in one program than Keras `fit` one by one, and are they as good?

Made features of the size that ResNet50 gives for a small photo collection: 2700 images, 2048 features, 5 classes; 15
epochs in batches of 32 with Adam, 16 learning rates by 4 penalties. "cold" is the first call in a process, with the
compilation of the program; "warm" the ones after it. Keras trains a part of the 64 heads in each round (its time grows
by the head).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contest, conditions, report, tensorflow
from featurebank.heads.linear import SoftmaxHead
from featurebank.heads.trainer import train_together

IMAGES, FEATURES, CLASSES, EPOCHS, BATCH = 2700, 2048, 5, 15, 32
RATES = np.logspace(-4, -2, 16)
PENALTIES = (0.0, 1e-4, 1e-3, 1e-2)


def run(rounds: int, *, quick: bool, output: Path) -> None:
    """Runs the benchmark."""
    tensorflow()
    about = conditions()
    settings = [(float(rate), penalty) for rate in RATES for penalty in PENALTIES]
    epochs, sample = (2, 2) if quick else (EPOCHS, 8)
    X, y, X_test, y_test = _made()
    contest = Contest(
        f"{len(settings)} softmax heads, {epochs} epochs", len(settings), "heads", "Keras fit, one by one"
    )
    scores: dict[str, dict[tuple[float, float], float]] = {"Keras": {}, "featurebank": {}}
    for turn in range(rounds):
        heads = [_head(r, p, epochs) for r, p in settings]
        name = "featurebank, cold" if turn == 0 else "featurebank, warm"
        contest.time(name, lambda heads=heads: train_together(heads, X, y))
        scores["featurebank"] = {s: _accuracy(h.predict(X_test), y_test) for s, h in zip(settings, heads, strict=True)}
        tried = settings[turn % 8 :: len(settings) // sample]
        found = contest.time(
            "Keras fit, one by one",
            lambda tried=tried: {s: _fit_keras(s, X, y, epochs) for s in tried},
            share=len(tried) / len(settings),
            note=f"{len(tried)} heads a round, scaled",
        )
        scores["Keras"] |= {s: _accuracy(m(X_test).numpy().argmax(1), y_test) for s, m in found.items()}
    differences = [scores["Keras"][s] - scores["featurebank"][s] for s in scores["Keras"]]
    means = {n: float(np.mean([scores[n][s] for s in scores["Keras"]])) for n in scores}
    report([contest], about, output, {"accuracy": means, "largest_difference": float(np.abs(differences).max())})
    print(f"accuracy on 1000 other images, mean of the {len(differences)} heads that both trained: {means}")


def _made() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns training and test images: non-negative, sparse and of unequal scale, as pooled ReLU features are."""
    rng = np.random.default_rng(0)
    scale = rng.lognormal(0, 0.7, FEATURES)
    centres = rng.standard_normal((CLASSES, FEATURES)) * 0.1
    y = rng.integers(0, CLASSES, IMAGES + 1000)
    X = np.maximum(rng.standard_normal((len(y), FEATURES)) + centres[y], 0) * scale
    X = X.astype(np.float32)
    return X[:IMAGES], y[:IMAGES], X[IMAGES:], y[IMAGES:]


def _head(rate: float, penalty: float, epochs: int) -> SoftmaxHead:
    return SoftmaxHead(learning_rate=rate, l2=penalty, epochs=epochs, batch_size=BATCH, standardize=True)


def _fit_keras(setting: tuple[float, float], X: np.ndarray, y: np.ndarray, epochs: int) -> Any:
    """Trains one head the plain way: standardised features, Dense, compile, fit."""
    import keras

    rate, penalty = setting
    scaling = keras.layers.Normalization()
    scaling.adapt(X)
    dense = keras.layers.Dense(CLASSES, activation="softmax", kernel_regularizer=keras.regularizers.L2(penalty))
    model = keras.Sequential([keras.Input((FEATURES,)), dense])
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(scaling(X).numpy(), y, batch_size=BATCH, epochs=epochs, verbose=0)
    return keras.Sequential([keras.Input((FEATURES,)), scaling, *model.layers])


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predicted == labels))
