"""Saved heads are data: what else is in a file is refused, and never run."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from featurebank import make_head
from featurebank.errors import HeadError
from featurebank.heads.boosted import XGBoostHead
from featurebank.heads.estimators import EstimatorHead
from featurebank.heads.exact.closed_form import RidgeHead
from featurebank.heads.neural.mlp import MLPHead
from featurebank.heads.neural.softmax import SoftmaxHead
from featurebank.heads.storage.saving import load_head, save_head

pytestmark = pytest.mark.heavy

KINDS = ("mlp", "svm", "random_forest", "xgboost")
"""One of each way of saving."""


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


class Foreign(ClassifierMixin, BaseEstimator):
    """A classifier that is not scikit-learn's."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Foreign:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.repeat(self.classes_[:1], len(X))


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Bomb(mark))


def pickled_array(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, neural=np.array([Bomb(mark)], object), classes=np.arange(3))
    return buffer.getvalue()


def pickled_array_beside_good_ones(mark: Path) -> bytes:
    buffer = io.BytesIO()
    text = b'{"class": "featurebank.heads.neural.softmax:SoftmaxHead", "params": {}, "history": {}}'
    np.savez(buffer, neural=np.frombuffer(text, np.uint8), classes=np.array([Bomb(mark)], object))
    return buffer.getvalue()


def boosted_with_pickle(mark: Path) -> bytes:
    arrays, buffer = io.BytesIO(), io.BytesIO()
    np.savez(arrays, classes=np.array([Bomb(mark)], object), features=3)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("booster.ubj", b"")
        archive.writestr("arrays.npz", arrays.getvalue())
        archive.writestr("params.json", "{}")
    return buffer.getvalue()


def foreign_types(mark: Path) -> bytes:
    import skops.io  # takes more than a second

    return bytes(skops.io.dumps(Foreign().fit(np.zeros((2, 1)), np.arange(2))))


def exact_with_pickle(mark: Path) -> bytes:
    buffer = io.BytesIO()
    text = b'{"class": "RidgeHead", "params": {}, "features": 3}'
    np.savez(buffer, exact=np.frombuffer(text, np.uint8), classes=np.arange(3), weights_=np.array([Bomb(mark)], object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make",
    [exact_with_pickle, pickled, pickled_array, pickled_array_beside_good_ones, boosted_with_pickle, foreign_types],
)
def test_a_malicious_file_is_refused_and_not_run(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "a.head").write_bytes(make(mark))
    with pytest.raises(HeadError):
        load_head(tmp_path / "a.head")
    assert not mark.exists()


def test_the_bomb_would_go_off(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    pickle.loads(pickled(tmp_path / "ran"))
    assert (tmp_path / "ran").exists()


def test_a_class_that_the_file_names_is_not_imported(tmp_path: Path) -> None:
    text = b'{"class": "os:system", "params": {}, "history": {}}'
    with (tmp_path / "a.head").open("wb") as file:
        np.savez(file, neural=np.frombuffer(text, np.uint8), classes=np.arange(3))
    with pytest.raises(HeadError, match="cannot be read"):
        load_head(tmp_path / "a.head")


def test_only_known_classes_are_made(tmp_path: Path) -> None:
    text = b'{"class": "system", "params": {}, "features": 3}'
    with (tmp_path / "a.head").open("wb") as file:
        np.savez(file, exact=np.frombuffer(text, np.uint8), classes=np.arange(3))
    with pytest.raises(HeadError, match="cannot be read"):
        load_head(tmp_path / "a.head")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"none.head' cannot be read \(FileNotFoundError\): train it again"):
        load_head(tmp_path / "none.head")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_off(kind: str, fitted: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.head"
    save_head(fitted(kind), path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(HeadError, match="cannot be read"):
            load_head(path)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_are_an_error_or_harmless(kind: str, fitted: Any, sample: Any, tmp_path: Path) -> None:
    """ZIP keeps a checksum of each member: what loads in spite of a flipped byte answers as before."""
    path = tmp_path / "a.head"
    save_head(fitted(kind), path)
    whole = path.read_bytes()
    expected = fitted(kind).predict_proba(sample.X_val)
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert np.array_equal(load_head(path).predict_proba(sample.X_val), expected)
        except HeadError:
            refused += 1
    assert refused > 10


def test_a_foreign_estimator_is_not_saved(sample: Any, tmp_path: Path) -> None:
    head = EstimatorHead(Foreign()).fit(sample.X, sample.y)
    with pytest.raises(HeadError, match=r"holds .*Foreign, which featurebank does not restore"):
        save_head(head, tmp_path / "a.head")
    assert list(tmp_path.iterdir()) == []


def test_a_neural_head_keeps_its_history(sample: Any, fitted: Any, tmp_path: Path) -> None:
    save_head(fitted("mlp"), tmp_path / "a.head")
    assert load_head(tmp_path / "a.head").history_ == fitted("mlp").history_


def test_parameters_may_be_numbers_of_numpy(sample: Any, tmp_path: Path) -> None:
    head = MLPHead(hidden_units=(np.int64(16),), learning_rate=np.float32(0.01), epochs=2).fit(sample.X, sample.y)
    save_head(head, tmp_path / "a.head")
    loaded = load_head(tmp_path / "a.head")
    assert np.array_equal(loaded.predict_proba(sample.X_val), head.predict_proba(sample.X_val))


@pytest.mark.parametrize("make", [lambda: SoftmaxHead(epochs=1), lambda: XGBoostHead(n_estimators=2), RidgeHead])
def test_words_as_classes_are_saved_without_pickle(sample: Any, tmp_path: Path, make: Any) -> None:
    words = np.array(["ant", "bee", "cat"], object)[np.searchsorted([2, 5, 9], sample.y)]
    head = make().fit(sample.X, words)
    save_head(head, tmp_path / "a.head")
    assert np.array_equal(load_head(tmp_path / "a.head").predict(sample.X_val), head.predict(sample.X_val))


def test_principal_components_are_saved(hard: Any, tmp_path: Path) -> None:
    for head in (XGBoostHead(pca=4, n_estimators=3), make_head("knn", {"pca": 4, "standardize": True})):
        head.fit(hard.X, hard.y)
        save_head(head, tmp_path / "a.head")
        loaded = load_head(tmp_path / "a.head")
        assert np.array_equal(loaded.predict_proba(hard.X_val), head.predict_proba(hard.X_val))


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("svm", {"pca": 4, "power": 0.5, "normalize": True}), ("svm", {"kernel": "linear"}),
        ("kernel_ridge", {"pca": 4}), ("nearest_mean", {"metric": "cosine"}), ("lda", {"shrinkage": 0.5}),
        ("ridge", {"alpha": [1.0, 10.0]}),
    ],
    ids=str,
)  # fmt: skip
def test_exact_heads_are_saved_with_their_steps(hard: Any, tmp_path: Path, kind: str, params: dict[str, Any]) -> None:
    head = make_head(kind, params).fit(hard.X, hard.y)
    save_head(head, tmp_path / "a.head")
    with zipfile.ZipFile(tmp_path / "a.head") as archive:
        assert {"exact.npy", "classes.npy"} < set(archive.namelist())
    loaded = load_head(tmp_path / "a.head")
    assert loaded.get_params() == head.get_params()
    assert np.array_equal(loaded.predict_proba(hard.X_val), head.predict_proba(hard.X_val))


def test_loading_a_neural_head_needs_no_tensorflow(fitted: Any, tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    save_head(fitted("mlp"), tmp_path / "a.head")
    code = (
        "import sys, numpy, pathlib; from featurebank.heads.storage.saving import load_head; "
        f"load_head(pathlib.Path({str(tmp_path / 'a.head')!r})).predict(numpy.zeros((2, 98))); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    root = str(Path(__file__).resolve().parents[3])
    assert (
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=False).returncode
        == 0
    )


def test_weights_of_another_network_are_one_line(fitted: Any, sample: Any, tmp_path: Path) -> None:
    """A head made of layers builds its network when it is first asked."""
    path = tmp_path / "a.head"
    save_head(fitted("residual_stage"), path)
    arrays = dict(np.load(path))
    arrays["weight0"] = arrays["weight0"][..., :-1]
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(HeadError, match="do not fit its layers"):
        load_head(path).predict_proba(sample.X_val.reshape(-1, 7, 7, 2))
