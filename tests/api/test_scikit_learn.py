"""scikit-learn's own checks of transformers on `FeatureBank`, and tables in and out.

The checks know rows of numbers; here each row is an image whose pixels are the bytes of these numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from joblib import parallel_config
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import featurebank as fb
from featurebank.errors import ConfigError, DatasetError, UnknownNameError

pytestmark = pytest.mark.heavy

ANY_SIZE = "a row is one image, whatever its size: n_features_in_ is 1, and no number of pixels is wrong"
OWN_WORDS = (
    "it refuses what is no image as a DatasetError, which says what images are; the check wants words about numbers"
)
EXPECTED = {
    "check_n_features_in": ANY_SIZE,
    "check_n_features_in_after_fitting": ANY_SIZE,
    "check_complex_data": OWN_WORDS,
    "check_dtype_object": OWN_WORDS,
    "check_estimators_empty_data_messages": OWN_WORDS,
    "check_estimators_nan_inf": OWN_WORDS,
    "check_fit2d_predict1d": OWN_WORDS,
}
"""The checks that fail, and why they may."""


class FeatureBankOnRows(fb.FeatureBank):
    """Takes rows of numbers as images; everything else goes to `FeatureBank` as it is."""

    def fit(self, X: Any, y: Any = None) -> Any:
        return super().fit(as_images(X), y)

    def transform(self, X: Any) -> Any:
        return super().transform(as_images(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = True, False
        return tags


def as_images(X: Any) -> Any:
    rows = X if scipy.sparse.issparse(X) else np.asarray(X)
    if scipy.sparse.issparse(X) or rows.ndim != 2 or 0 in rows.shape or rows.dtype.kind not in "fiu":
        return rows
    if not np.isfinite(rows).all():
        return rows
    return np.ascontiguousarray(rows, np.float64).view(np.uint8).reshape(len(rows), -1, 8)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEATUREBANK_CACHE", str(tmp_path / "cache"))


OPTIONS: dict[str, Any] = {"weights": "random:0", "image_size": 32}


@parametrize_with_checks([FeatureBankOnRows(**OPTIONS)], expected_failed_checks=lambda estimator: EXPECTED)
def test_check(estimator: Any, check: Any, pixels: Any) -> None:
    check(estimator)


@pytest.fixture
def table(photos: Path) -> pd.DataFrame:
    files = sorted(photos.glob("*/*"))
    return pd.DataFrame({"path": [str(f) for f in files], "label": [f.parent.name for f in files]}, index=range(5, 29))


def test_tables_in_and_out(table: pd.DataFrame) -> None:
    bank = fb.FeatureBank("tiny:network").set_output(transform="pandas").fit(table[["path"]])
    assert (bank.n_features_in_, list(bank.feature_names_in_)) == (1, ["path"])
    found = bank.transform(table[["path"]])
    assert list(found.index) == list(table.index)
    assert list(found.columns) == list(bank.get_feature_names_out()) == [f"featurebank{n}" for n in range(6)]
    with pytest.raises(ValueError, match="feature names should match"):
        bank.transform(table[["path"]].rename(columns={"path": "file"}))
    columns = ColumnTransformer([("image", fb.FeatureBank("tiny:network"), ["path"])])
    assert np.array_equal(columns.fit_transform(table), found)
    assert np.array_equal(fb.FeatureBank("tiny:network").transform(table["path"]), found)
    with pytest.raises(
        ConfigError, match=r"tap is 'map': expected one with vectors, because maps of 5 x 5 x 6 have no"
    ):
        fb.FeatureBank("tiny:network", tap="map").get_feature_names_out()


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"backbone": 3}, ConfigError, "^backbone is 3: expected the name of a network"),
        ({"tap": ["pooled"]}, ConfigError, r"^tap is \['pooled'\]: expected the name of one tap"),
        ({"batch_size": 0}, ConfigError, "^batch_size is 0: expected a whole number of 1 or more"),
        ({"image_size": "a"}, ConfigError, "^image_size is 'a'"),
        ({"cache": 3}, ConfigError, "^cache is 3: expected a path"),
        ({"engine": "x"}, UnknownNameError, "^unknown engine 'x'"),
        ({"levels": "a"}, ConfigError, "^levels is 'a'"),
        ({"resize": "a", "weights": 3}, ConfigError, "weights is 3"),
    ],
    ids=str,
)
def test_errors_name_the_parameters(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fb.FeatureBank(**{**OPTIONS, **wrong}).fit(np.zeros((2, 8, 8), np.uint8))


def test_sparse_arrays_are_refused() -> None:
    with pytest.raises(DatasetError, match="images are a sparse csr_array: expected paths"):
        fb.FeatureBank(**OPTIONS).fit(scipy.sparse.csr_array(np.eye(3)))


def test_pipelines_in_other_processes(table: pd.DataFrame, pixels: Any) -> None:
    """Rows that are in the bank need no engine, so that the processes start quickly."""
    fb.FeatureBank(**OPTIONS).transform(table["path"])
    model = make_pipeline(fb.FeatureBank(**OPTIONS), fb.make_head("logistic"))
    paths, labels = table["path"].to_numpy(object), table["label"].to_numpy(object)
    search = GridSearchCV(model, {"logistichead__C": [0.1, 1.0]}, cv=2)
    here, alone = cross_val_score(model, paths, labels, cv=2), clone(search).fit(paths, labels)
    with parallel_config("loky", n_jobs=2):
        search.fit(paths, labels)
        assert np.array_equal(cross_val_score(model, paths, labels, cv=2), here)
    assert np.array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert np.array_equal(search.predict_proba(paths), alone.predict_proba(paths))
