"""Small data that every kind of head learns, of one shape, so that XLA compiles few programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from featurebank import make_head
from featurebank.heads.catalog import kind_of
from featurebank.heads.needs import VECTORS

FEATURES = 98
"""7 x 7 x 2: as a map and flat, the same program."""

LABELS = (2, 5, 9)

SMALL: dict[str, dict[str, Any]] = {
    "softmax": {"learning_rate": 0.01, "epochs": 10},
    "mlp": {"learning_rate": 0.01, "epochs": 10, "hidden_units": 16},
    "logistic": {},
    "ridge": {},
    "lda": {},
    "svm": {},
    "kernel_ridge": {},
    "knn": {},
    "random_forest": {"n_estimators": 20},
    "nearest_mean": {},
    "xgboost": {"n_estimators": 10, "max_depth": 3},
    "xgboost_pca": {"n_estimators": 10, "max_depth": 3, "pca": 16},
    "xgboost_coarse": {"n_estimators": 10, "max_depth": 3},
    "conv": {"learning_rate": 0.02, "epochs": 10, "filters": 4, "batch_norm_momentum": 0.5},
    "attention_pool": {"learning_rate": 0.05, "epochs": 15},
    "gem_pool": {"learning_rate": 0.05, "epochs": 30},
    "cam": {"learning_rate": 0.05, "epochs": 15},
    "residual_stage": {
        "learning_rate": 0.02,
        "epochs": 6,
        "filters": [4, 4, 8],
        "blocks": 1,
        "batch_norm_momentum": 0.5,
    },
    "tail": {"learning_rate": 0.02, "epochs": 8, "backbone": "tiny:network", "cut": "cut"},
    "sklearn.ensemble:ExtraTreesClassifier": {"n_estimators": 20},
    "nearest_mean calibrated": {"calibrate": "temperature"},
}
"""Every kind of head, with parameters that keep it quick; after a space, what is particular about one."""


def made(kind: str, **options: Any) -> Any:
    return make_head(kind.split(maxsplit=1)[0], SMALL[kind], **options)


def on_maps(kind: str) -> bool:
    return kind_of(kind.split(maxsplit=1)[0]).needs != VECTORS


@dataclass(frozen=True)
class Sample:
    """Training and validation rows of classes that lie apart."""

    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray

    @property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        return self.X_val, self.y_val


def make_sample(
    labels: tuple[int, ...] = LABELS, *, train: int = 90, val: int = 45, distance: float = 3.0, seed: int = 0,
    maps: bool = False,
) -> Sample:  # fmt: skip
    """Rows, or maps of 7 x 7 x 2 whose classes differ in what the channels are on average."""
    random = np.random.default_rng(seed)
    y = random.permutation(np.resize(labels, train + val)).astype(np.int32)
    X = random.normal(size=(train + val, FEATURES))
    for position, label in enumerate(labels):
        if maps:
            X[y == label, position % 2 :: (2, 2, 1)[position]] += distance / 2
        else:
            X[y == label, position * 5 : position * 5 + 5] += distance
    X = X.astype(np.float32).reshape((-1, 7, 7, 2) if maps else (-1, FEATURES))
    return Sample(X[:train], y[:train], X[train:], y[train:])


@pytest.fixture(scope="session")
def sample() -> Sample:
    return make_sample()


@pytest.fixture(scope="session")
def hard() -> Sample:
    """Classes that overlap, so that training for too long over-fits."""
    return make_sample(distance=0.6, seed=1)


@pytest.fixture(scope="session")
def maps() -> Sample:
    """Maps of classes that lie apart."""
    return make_sample(maps=True)


@pytest.fixture(scope="session")
def hard_maps() -> Sample:
    """Maps of classes that overlap."""
    return make_sample(distance=0.3, seed=1, maps=True)


@pytest.fixture(scope="session")
def pair() -> Sample:
    """Two classes."""
    return make_sample((3, 8), seed=2)


@pytest.fixture(params=SMALL)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def fitted() -> Any:
    """A function that gives one fitted head of a kind; not to be changed."""
    found: dict[str, Any] = {}

    def get(kind: str) -> Any:
        if kind not in found:
            sample = make_sample(maps=on_maps(kind))
            found[kind] = made(kind).fit(sample.X, sample.y, sample.validation)
        return found[kind]

    return get


@pytest.fixture
def unfitted(kind: str) -> Any:
    return made(kind)


@pytest.fixture(scope="session")
def small() -> dict[str, dict[str, Any]]:
    return SMALL


@pytest.fixture(scope="session")
def sampled() -> Any:
    """The function that makes samples."""
    return make_sample
