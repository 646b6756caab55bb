"""A head that scales joined features itself."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import make_head
from featurebank.errors import HeadError
from featurebank.heads.joined.encoding import ColumnEncoding
from featurebank.heads.joined.head import JoinedHead
from featurebank.heads.joined.scaling import JoinedScaling
from featurebank.heads.storage.saving import load_head, save_head

RANDOM = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (RANDOM.normal(0, 1, (60, 6)) * [1, 9, 1, 1, 30, 1] + [0, 5, 0, 40, 0, 0]).astype(np.float32)
X[np.arange(60), Y] += 3
ENCODING = ColumnEncoding(("age", "site"), (None, ("a",)))


def fitted(kind: str, **params: Any) -> JoinedHead:
    scaling = JoinedScaling.fit([X], [("pooled", 3), ("cls", 1)], ENCODING)
    return JoinedHead.of(make_head(kind, params).fit(scaling.apply(X), Y, (scaling.apply(X), Y)), scaling)


@pytest.mark.parametrize(
    ("kind", "params"),
    [("ridge", {}), ("svm", {"calibrate": "temperature"}), ("knn", {"n_neighbors": 3})],
)
def test_it_is_saved_with_its_scale(kind: str, params: dict[str, Any], tmp_path: Path) -> None:
    head = fitted(kind, **params)
    save_head(head, tmp_path / "a.head")
    again = load_head(tmp_path / "a.head")
    assert np.array_equal(again.predict_proba(X), head.predict_proba(X))
    assert again.scaling_.encoding == ENCODING
    assert again.columns == ("age", "site")
    assert again.scaling_.taps == (("pooled", 3), ("cls", 1))
    assert again.saw_validation == ("calibrate" in params)
    assert again.n_parameters_ == head.head_.n_parameters_


@pytest.mark.parametrize("kind", ["ridge", "logistic", "nearest_mean"])
def test_it_says_how_scores_depend_on_stored_features(kind: str) -> None:
    head = fitted(kind)
    weights, bias = head.linear_()
    scores = X @ weights + bias
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert np.allclose(expected / expected.sum(axis=1, keepdims=True), head.predict_proba(X), atol=1e-5)
    assert np.allclose(head.score_gradients_(X[:3], Y[:3]), weights.T[Y[:3]])


def test_fit_scales_the_features_of_one_part() -> None:
    head = JoinedHead(make_head("ridge")).fit(X, Y)
    assert (head.scaling_.apply(X) ** 2).mean() == pytest.approx(1, rel=1e-4)
    assert (head.predict(X) == Y).mean() > 0.8


@pytest.mark.parametrize("damage", ["scale", "nested", "taps", "negative", "infinite", "nameless"])
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    head = fitted("ridge")
    if damage == "scale":
        head.scaling_ = JoinedScaling(head.scaling_.mean[:3], head.scaling_.factor[:3], head.scaling_.taps)
    elif damage == "taps":
        head.scaling_ = JoinedScaling(head.scaling_.mean, head.scaling_.factor, (("pooled", 99),))
    elif damage == "negative":
        head.scaling_ = replace(head.scaling_, taps=(("pooled", 5), ("cls", -1)))
    elif damage == "infinite":
        head.scaling_ = replace(head.scaling_, factor=np.where(np.arange(len(head.scaling_.mean)), 1, np.inf))
    elif damage == "nameless":
        head.scaling_ = replace(head.scaling_, encoding=replace(ENCODING, categories=(None, ())))
    else:
        head = JoinedHead.of(head, JoinedScaling.fit([X], [("pooled", 6)]))
    save_head(head, tmp_path / "a.head")
    with pytest.raises(HeadError, match="cannot be read"):
        load_head(tmp_path / "a.head")
    assert zipfile.is_zipfile(tmp_path / "a.head")
