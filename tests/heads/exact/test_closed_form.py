"""Closed forms give what scikit-learn gives, from one decomposition, and leave one out without fitting again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from featurebank.errors import HeadError, RamLimitError
from featurebank.heads.estimators import fit_transforms, transform
from featurebank.heads.exact import discriminant
from featurebank.heads.exact.closed_form import LDAHead, NearestMeanHead, RidgeHead
from featurebank.heads.exact.left_out import loo_predictions
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps

pytestmark = pytest.mark.heavy

Data = tuple[np.ndarray, np.ndarray]


def overlapping(n: int, d: int, classes: int = 3, seed: int = 0) -> Data:
    """Features of unequal scale and mean that depend on each other, of classes that overlap."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.resize(np.arange(classes) * 2 + 1, n))
    mixing = rng.standard_normal((d, d)) / np.sqrt(d) + np.eye(d)
    X = (rng.standard_normal((n, d)) + 0.5 * rng.standard_normal((y.max() + 1, d))[y]) @ mixing
    return (X * rng.lognormal(0, 0.5, d) + 3).astype(np.float32), y


@pytest.fixture(params=["more images", "more features"])
def data(request: pytest.FixtureRequest) -> Data:
    return overlapping(400, 150) if request.param == "more images" else overlapping(90, 150)


@pytest.mark.parametrize("alpha", [0.1, 100.0])
@pytest.mark.parametrize("standardize", [False, True])
def test_ridge_is_scikit_learns(data: Data, alpha: float, standardize: bool) -> None:
    X, y = data
    head = RidgeHead(alpha=alpha, standardize=standardize).fit(X, y)
    scaler = StandardScaler(with_mean=standardize, with_std=standardize).fit(X.astype(np.float64))
    theirs = RidgeClassifier(alpha=alpha, solver="cholesky").fit(scaler.transform(X.astype(np.float64)), y)
    scale = scaler.scale_ if standardize else np.ones(X.shape[1])
    np.testing.assert_allclose(head.weights_, theirs.coef_.T / scale[:, None], rtol=1e-6, atol=1e-9)
    logits = theirs.decision_function(scaler.transform(X.astype(np.float64)))
    expected = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(head.predict_proba(X), expected / expected.sum(1, keepdims=True), atol=1e-6)


def test_ridge_of_two_classes_is_a_logistic_function_of_the_decision() -> None:
    X, y = overlapping(100, 20, classes=2)
    theirs = RidgeClassifier(alpha=3.0).fit(X, y).decision_function(X)
    np.testing.assert_allclose(
        RidgeHead(alpha=3.0).fit(X, y).predict_proba(X)[:, 1], 1 / (1 + np.exp(-theirs)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("n", "d", "alpha", "steps"),
    [
        (30, 10, 1.0, Steps()),
        (30, 10, 1e-4, Steps()),
        (20, 40, 1e-3, Steps()),
        (20, 40, 10.0, Steps()),
        (31, 30, 1e-2, Steps()),
        (30, 10, 1.0, Steps(pca=4)),
    ],
)
def test_leaving_one_out_is_fitting_without_it(n: int, d: int, alpha: float, steps: Steps) -> None:
    X, y = overlapping(n, d)
    found = loo_predictions(Shared(X, y), steps, [alpha, 5.0])[0]
    inputs = PCA(steps.pca).fit_transform(X.astype(np.float64)) if steps.pca else X.astype(np.float64)
    for left in range(n):
        kept = np.arange(n) != left
        theirs = RidgeClassifier(alpha=alpha, solver="svd").fit(inputs[kept], y[kept])
        np.testing.assert_allclose(found[left], theirs.decision_function(inputs[[left]])[0], rtol=2e-4, atol=2e-4)


def test_the_penalty_is_chosen_by_leaving_one_out() -> None:
    X, y = overlapping(80, 60)
    alphas = [1.0, 1e4, 1e2]
    head = RidgeHead(alpha=alphas).fit(X, y)
    accuracies = (loo_predictions(Shared(X, y), Steps(), alphas).argmax(2) * 2 + 1 == y).mean(1)
    assert [head.loo_accuracies_[alpha] for alpha in alphas] == accuracies.tolist()
    assert head.alpha_ == alphas[int(accuracies.argmax())]
    assert head.loo_accuracy_ == accuracies.max()
    alone = RidgeHead(alpha=head.alpha_).fit(X, y)
    assert np.array_equal(alone.weights_, head.weights_)


def test_of_equal_penalties_the_largest_is_taken(sample: Any) -> None:
    assert RidgeHead(alpha=[1.0, 3.0, 2.0]).fit(sample.X, sample.y).alpha_ == 3.0
    tried = RidgeHead(alpha="loo").fit(sample.X, sample.y).loo_accuracies_
    assert len(tried) == 25
    assert max(tried.values()) > 0.9


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), float("inf"), [], [1.0, -1.0], "gcv", None, True])
def test_a_penalty_out_of_range(sample: Any, alpha: Any) -> None:
    with pytest.raises(HeadError, match=r"RidgeHead: alpha is .*, expected a number above 0, several, or 'loo'"):
        RidgeHead(alpha=alpha).fit(sample.X, sample.y)


def test_all_wrong_parameters_are_told(sample: Any) -> None:
    wrong = NearestMeanHead(metric="manhattan", standardize="yes", pca=2.5, whiten=1)  # type: ignore[arg-type]
    with pytest.raises(HeadError, match=r"standardize is 'yes'.*whiten is 1.*metric is 'manhattan'.*pca is 2.5"):
        wrong.check()


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shrinkage", [0.05, 0.7, 1.0, "auto"])
def test_discriminants_are_scikit_learns(data: Data, shrinkage: Any, standardize: bool) -> None:
    X, y = data
    wide = X.astype(np.float64)
    inputs = StandardScaler().fit_transform(wide) if standardize else wide
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(inputs, y)
    head = LDAHead(shrinkage=shrinkage, standardize=standardize).fit(X, y)
    np.testing.assert_allclose(head.predict_proba(X), theirs.predict_proba(inputs), atol=1e-5)
    assert np.array_equal(head.predict(X), theirs.predict(inputs))


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, "auto"])
def test_discriminants_of_components(data: Data, shrinkage: Any) -> None:
    X, y = data
    inputs = PCA(6).fit_transform(X.astype(np.float64))
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(inputs, y)
    head = LDAHead(shrinkage=shrinkage, pca=6).fit(X, y)
    np.testing.assert_allclose(head.predict_proba(X), theirs.predict_proba(inputs), atol=1e-5)


def test_the_covariance_as_it_is_needs_images() -> None:
    X, y = overlapping(400, 40)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(X.astype(np.float64), y)
    np.testing.assert_allclose(
        LDAHead(shrinkage=0).fit(X, y).predict_proba(X), theirs.predict_proba(X.astype(np.float64)), atol=1e-5
    )
    X[:, 1] = X[:, 0]
    with pytest.raises(HeadError, match="take a larger"):
        LDAHead(shrinkage=0).fit(X, y)


@pytest.mark.parametrize(("n", "d"), [(60, 10), (10, 60), (2, 5)])
def test_ledoit_and_wolfs_shrinkage(n: int, d: int) -> None:
    rows = np.random.default_rng(0).standard_normal((n, d)) @ np.diag(np.linspace(1, 3, d))
    rows -= rows.mean(0)
    lengths = (rows**2).sum(axis=1)
    for product in (rows.T @ rows, rows @ rows.T):
        found, _ = discriminant.shrinkage_of(product, float(lengths @ lengths), n, d)
        assert found == pytest.approx(ledoit_wolf_shrinkage(rows, assume_centered=True))


def test_a_class_with_one_image_has_discriminants() -> None:
    X, y = overlapping(60, 20)
    y[0] = 9
    assert np.isfinite(LDAHead().fit(X, y).predict_proba(X)).all()


def test_nearest_means_are_scikit_learns(data: Data) -> None:
    X, y = data
    theirs = NearestCentroid().fit(X.astype(np.float64), y)
    head = NearestMeanHead().fit(X, y)
    assert np.array_equal(head.predict(X), theirs.predict(X.astype(np.float64)))
    means = np.stack([X[y == label].mean(0) for label in head.classes_]).astype(np.float64)
    squares = ((X[:, None] - means) ** 2).sum(2)
    own = squares[np.arange(len(y)), np.searchsorted(head.classes_, y)].mean()
    logits = -squares / (2 * own)
    np.testing.assert_allclose(head.predict_proba(X), np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-4)


def test_the_nearest_mean_by_angle(data: Data) -> None:
    X, y = data
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    means = np.stack([unit[y == label].mean(0) for label in np.unique(y)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    head = NearestMeanHead(metric="cosine").fit(X, y)
    assert np.array_equal(head.predict(X), head.classes_[(unit @ means.T).argmax(1)])
    assert np.array_equal(head.predict(X * 7), head.predict(X))
    with pytest.raises(HeadError, match="no linear function"):
        head.linear_()
    with pytest.raises(HeadError, match="expected euclidean where features are standardised or reduced"):
        NearestMeanHead(metric="cosine", standardize=True).fit(X, y)


def test_the_nearest_mean_of_whitened_components(data: Data) -> None:
    X, y = data
    inputs = PCA(5, whiten=True).fit_transform(X.astype(np.float64))
    theirs = NearestCentroid().fit(inputs, y).predict(inputs)
    assert np.array_equal(NearestMeanHead(pca=5, whiten=True).fit(X, y).predict(X), theirs)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("pca", [1, 20, 60])
def test_components_are_scikit_learns(data: Data, standardize: bool, pca: int) -> None:
    X, y = data
    inputs = StandardScaler().fit_transform(X.astype(np.float64)) if standardize else X.astype(np.float64)
    theirs = PCA(pca, svd_solver="full").fit(inputs)
    steps = fit_transforms(Shared(X, y), standardize=standardize, pca=pca)
    np.testing.assert_allclose(np.abs(steps[-1].components_), np.abs(theirs.components_), atol=1e-4)
    np.testing.assert_allclose(steps[-1].explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-5)
    found = np.abs(transform(steps, X))
    np.testing.assert_allclose(found, np.abs(theirs.transform(inputs)), atol=2e-4 * found.max())


def test_one_decomposition_serves_all(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda A: calls.append(len(A)) or eigh(A))
    X, y = data
    shared = Shared(X, y)
    for head in (
        *(RidgeHead(pca=k) for k in (2, 3, 4)), LDAHead(pca=5), NearestMeanHead(pca=6),
    ):  # fmt: skip
        alone = type(head)(**head.get_params()).fit(X, y)
        calls.clear()
        together = head.fit_shared(shared)
        assert np.array_equal(together.predict_proba(X), alone.predict_proba(X))
        assert calls == ([150 if len(X) > 150 else 90] if head.get_params()["pca"] == 2 else [])


@pytest.mark.parametrize(
    "head",
    [
        RidgeHead(standardize=True), RidgeHead(pca=4), LDAHead(), LDAHead(shrinkage=0.3, standardize=True),
        NearestMeanHead(), NearestMeanHead(pca=4, whiten=True, standardize=True),
    ],
    ids=str,
)  # fmt: skip
def test_a_linear_head_is_one_layer(data: Data, head: Any) -> None:
    X, y = data
    weights, bias = head.fit(X, y).linear_()
    assert (weights.shape, bias.shape) == ((X.shape[1], 3), (3,))
    logits = X @ weights + bias
    expected = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(head.predict_proba(X), expected / expected.sum(1, keepdims=True), atol=1e-6)


def test_constant_features_change_nothing(data: Data) -> None:
    X, y = data
    constant = np.concatenate([X, np.full((len(X), 3), [0, 0.1, 1e6], np.float32)], axis=1)
    for head in (RidgeHead(standardize=True), LDAHead(shrinkage=0.5, standardize=True), NearestMeanHead()):
        plain = type(head)(**head.get_params()).fit(X, y).predict(X)
        assert np.mean(head.fit(constant, y).predict(constant) == plain) > 0.97


def test_more_memory_than_allowed(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.system.runtime._ram_limit", 100_000)
    with pytest.raises(RamLimitError, match=r"an exact head on \d+ x 150 features needs .* --ram allows"):
        RidgeHead().fit(*data)
