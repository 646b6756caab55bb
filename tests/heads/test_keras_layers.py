"""Heads as Keras layers say what they say without Keras."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from featurebank import make_head
from featurebank.errors import HeadError
from featurebank.heads.catalog import HEADS
from featurebank.heads.needs import VECTORS
from featurebank.heads.neural.mlp import MLPHead
from featurebank.system.runtime import import_tensorflow
from featurebank.training.activations import ACTIVATIONS, softmax
from featurebank.training.history import Dense, History

pytestmark = pytest.mark.heavy

NO_LAYERS = {"svm", "kernel_ridge", "knn", "random_forest", "xgboost", "xgboost_pca", "xgboost_coarse"}
"""With their default parameters."""

LINEAR = [
    ("mlp", {"hidden_units": [16, 8], "activation": "gelu", "batch_norm": "after", "standardize": True, "epochs": 3}),
    ("mlp", {"hidden_units": [], "epochs": 3, "calibrate": "temperature"}),
    ("mlp", {"activation": "leaky_relu", "batch_norm": True, "epochs": 3, "calibrate": "temperature"}),
    ("logistic", {"standardize": True, "pca": 10}),
    ("svm", {"kernel": "linear", "standardize": True, "pca": 10}),
    ("kernel_ridge", {"kernel": "linear"}),
    ("sklearn.linear_model:LogisticRegression", {"standardize": True, "pca": 10}),
    ("sklearn.linear_model:RidgeClassifier", {"standardize": True}),
    ("sklearn.linear_model:SGDClassifier", {"loss": "log_loss"}),
    ("sklearn.linear_model:Perceptron", {"pca": 5}),
    ("sklearn.svm:LinearSVC", {}),
    ("sklearn.discriminant_analysis:LinearDiscriminantAnalysis", {"calibrate": "temperature"}),
]


def as_layers(head: Any, X: np.ndarray) -> np.ndarray:
    """The softmax of the logits that the head's layers give for features."""
    import_tensorflow()
    import keras

    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, head.keras_layers_(inputs))
    return softmax(np.asarray(model(X, training=False)))


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_every_kind_says_the_same_or_why_it_cannot(kind: str, fitted: Any, sample: Any, maps: Any) -> None:
    head = fitted(kind)
    sample = maps if head.needs != VECTORS else sample
    if kind in NO_LAYERS:
        with pytest.raises(HeadError, match=r"is (not made of layers|no linear function)"):
            as_layers(head, sample.X_val)
    else:
        np.testing.assert_allclose(as_layers(head, sample.X_val), head.predict_proba(sample.X_val), atol=1e-5)


@pytest.mark.parametrize(("kind", "params"), LINEAR, ids=[f"{kind} {params}" for kind, params in LINEAR])
@pytest.mark.parametrize("classes", ["sample", "pair"])
def test_every_step_before_is_in_the_weights(
    kind: str, params: dict[str, Any], classes: str, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(classes)
    scaled = data.X * np.linspace(0.1, 3, data.X.shape[1], dtype=np.float32) + 2
    head = make_head(kind, params).fit(scaled, data.y, (scaled, data.y))
    np.testing.assert_allclose(as_layers(head, scaled), head.predict_proba(scaled), atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("conv", {"filters": [3, 4], "kernel_size": [2, 3], "padding": "same", "pool_size": [2, 1], "reduce": "max"}),
        (
            "conv",
            {"filters": 3, "conv_batch_norm": "after", "hidden_units": 5, "batch_norm": True, "standardize": True},
        ),
        ("conv", {"filters": 3, "conv_batch_norm": False, "reduce": "avg", "activation": "silu"}),
        ("attention_pool", {"queries": 3, "standardize": True, "hidden_units": 4, "batch_norm": "after"}),
        ("gem_pool", {"power": 5.0, "calibrate": "temperature"}),
        ("residual_stage", {"filters": [3, 3, 4], "blocks": 2, "strides": 2, "hidden_units": 4, "dropout": 0.2}),
    ],
)
def test_heads_on_maps(kind: str, params: dict[str, Any], maps: Any) -> None:
    X = maps.X * np.array([0.5, 2], np.float32) + 1
    head = make_head(kind, {"epochs": 2, **params}).fit(X, maps.y, (X, maps.y))
    np.testing.assert_allclose(as_layers(head, X), head.predict_proba(X), atol=2e-5)


def test_maps_are_flattened_as_heads_flatten_them(fitted: Any, sample: Any) -> None:
    maps = sample.X_val.reshape(-1, 7, 7, 2)
    head = fitted("ridge")
    np.testing.assert_allclose(as_layers(head, maps), head.predict_proba(maps), atol=1e-5)


def test_another_width_is_told(fitted: Any, sample: Any) -> None:
    with pytest.raises(HeadError, match="the tap has 97 features, the head was trained on 98"):
        as_layers(fitted("softmax"), sample.X_val[:, 1:])


@pytest.mark.parametrize("target", ["sklearn.svm:SVC", "sklearn.naive_bayes:GaussianNB"])
def test_an_estimator_that_only_looks_linear_is_refused(target: str, sample: Any) -> None:
    """SVC with a linear kernel has coefficients, of pairs of classes."""
    params = {"kernel": "linear"} if "SVC" in target else {}
    head = make_head(target, params).fit(sample.X, sample.y)
    with pytest.raises(HeadError, match=r"coefficients alone|no linear function"):
        as_layers(head, sample.X_val)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradients_of_dense_heads_in_numpy(activation: str) -> None:
    """They are the slopes of the logits, whose differences are those of the logarithms of the probabilities."""
    random, head = np.random.default_rng(0), MLPHead(hidden_units=[5, 4], activation=activation)
    sizes = (6, 5, 4, 3)
    layers = [Dense(random.normal(size=pair), random.normal(size=pair[1])) for pair in pairwise(sizes)]
    head.set_fitted(layers, np.arange(3), History())
    x, steps = random.normal(size=(1, 6)).astype(np.float32), 1e-3 * np.eye(6, dtype=np.float32)
    logs = np.log(head.predict_proba(np.concatenate([x + steps, x - steps])).astype(np.float64))
    slopes = (logs[:6] - logs[6:]) / 2e-3
    one, other = head.score_gradients_(np.repeat(x, 2, axis=0), np.array([0, 2]))
    np.testing.assert_allclose(one - other, slopes[:, 0] - slopes[:, 2], atol=2e-3)
