"""Logistic regression reaches scikit-learn's optimum, alone and in a sweep over C."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from featurebank.errors import HeadError, HeadWarning
from featurebank.heads.exact import logistic
from featurebank.heads.exact.logistic import LogisticHead
from featurebank.heads.exact.shared import Shared

pytestmark = pytest.mark.heavy


def badly_scaled(n: int, d: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.resize(np.arange(classes), n))
    X = rng.standard_normal((n, d)) + 0.4 * rng.standard_normal((classes, d))[y]
    return (np.maximum(X + rng.standard_normal((n, 1)), 0) * rng.lognormal(0, 1, d)).astype(np.float32), y


def objective(X: np.ndarray, y: np.ndarray, logits: np.ndarray, penalty: float) -> float:
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).sum() + penalty)


def theirs(X: np.ndarray, y: np.ndarray, C: float, **options: Any) -> LogisticRegression:
    return LogisticRegression(C=C, tol=1e-9, max_iter=20_000, solver="newton-cg", **options).fit(
        X.astype(np.float64), y
    )


@pytest.mark.parametrize(("n", "d"), [(200, 40), (60, 150)], ids=["more images", "more features"])
@pytest.mark.parametrize("C", [1e-3, 0.1, 30.0])
def test_the_optimum_is_scikit_learns(n: int, d: int, C: float) -> None:
    X, y = badly_scaled(n, d)
    head, best = LogisticHead(C=C).fit(X, y), theirs(X, y, C)
    weights, bias = head.linear_()
    ours = objective(X, y, X @ weights + bias, float((weights**2).sum()) / 2 / C)
    tight = objective(X, y, best.decision_function(X), float((best.coef_**2).sum()) / 2 / C)
    assert ours == pytest.approx(tight, rel=1e-5)
    np.testing.assert_allclose(weights, best.coef_.T, atol=2e-3 * np.abs(best.coef_).max())
    np.testing.assert_allclose(head.predict_proba(X), best.predict_proba(X), atol=5e-3)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_two_classes(fit_intercept: bool) -> None:
    """Where scikit-learn penalises one vector of weights, not two."""
    X, y = badly_scaled(120, 30, classes=2)
    head, best = (
        LogisticHead(C=0.05, fit_intercept=fit_intercept).fit(X, y),
        theirs(X, y, 0.05, fit_intercept=fit_intercept),
    )
    np.testing.assert_allclose(head.predict_proba(X), best.predict_proba(X), atol=2e-3)
    weights, bias = head.linear_()
    np.testing.assert_allclose(weights[:, 1] - weights[:, 0], best.coef_[0], atol=2e-3 * np.abs(best.coef_).max())
    assert (bias == 0).all() == (not fit_intercept)


@pytest.mark.parametrize("options", [{"standardize": True}, {"pca": 7}, {"standardize": True, "pca": 7}])
def test_after_the_steps(options: dict[str, Any]) -> None:
    from sklearn.decomposition import PCA

    X, y = badly_scaled(150, 40)
    inputs = X.astype(np.float64)
    if "standardize" in options:
        inputs = StandardScaler().fit_transform(inputs)
    if "pca" in options:
        inputs = PCA(7).fit_transform(inputs)
    head = LogisticHead(C=0.2, **options).fit(X, y)
    np.testing.assert_allclose(head.predict_proba(X), theirs(inputs, y, 0.2).predict_proba(inputs), atol=2e-3)


@pytest.mark.parametrize(("n", "d"), [(200, 40), (60, 150)])
def test_company_changes_nothing(n: int, d: int) -> None:
    X, y = badly_scaled(n, d)
    heads = [LogisticHead(C=C) for C in (3.0, 1e-4, 0.1, 0.1, 1e-2, 1.0)]
    told = list(LogisticHead.fit_path(heads, Shared(X, y)))
    assert [heads[position].C for position, _, _ in told] == [1e-4, 1e-2, 0.1, 0.1, 1.0, 3.0]
    assert all(seconds > 0 and failure is None for _, seconds, failure in told)
    for head in heads:
        alone = LogisticHead(C=head.C).fit(X, y)
        np.testing.assert_allclose(head.predict_proba(X), alone.predict_proba(X), atol=1e-4)
        np.testing.assert_allclose(head.weights_, alone.weights_, atol=1e-4 * np.abs(alone.weights_).max())


def test_products_in_float32_are_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = badly_scaled(400, 80)
    exact = [LogisticHead(C=C).fit(X, y) for C in (1e-3, 0.1, 10.0)]
    monkeypatch.setattr(logistic, "EXACT_NUMBERS", 0)
    heads = [LogisticHead(C=head.C) for head in exact]
    list(LogisticHead.fit_path(heads, Shared(X, y)))
    for head, wide in zip(heads, exact, strict=True):
        losses = [objective(X, y, h._logits(X), float((h.weights_**2).sum()) / 2 / h.C) for h in (head, wide)]
        assert losses[0] == pytest.approx(losses[1], rel=2e-5)
        np.testing.assert_allclose(head.predict_proba(X), wide.predict_proba(X), atol=5e-3)


def test_a_sweep_saves_steps() -> None:
    X, y = badly_scaled(300, 60)
    heads = [LogisticHead(C=float(C)) for C in np.logspace(-4, 2, 13)]
    list(LogisticHead.fit_path(heads, Shared(X, y)))
    assert sum(head.n_iter_ for head in heads) < 0.9 * sum(LogisticHead(C=h.C).fit(X, y).n_iter_ for h in heads)


def test_a_head_that_fails_leaves_the_sweep_alone() -> None:
    X, y = badly_scaled(100, 20)
    heads = [LogisticHead(C=1.0), LogisticHead(C=-1.0), LogisticHead(C=0.1)]
    failures = {position: failure for position, _, failure in LogisticHead.fit_path(heads, Shared(X, y))}
    assert [failures[i] is None for i in range(3)] == [True, False, True]
    assert "C is -1.0, expected a number above 0" in str(failures[1])


def test_too_few_steps_are_told() -> None:
    X, y = badly_scaled(100, 20)
    with pytest.warns(HeadWarning, match="not converged after 2 steps"):
        LogisticHead(C=10.0, max_iter=2).fit(X, y)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"C": 0}, "C is 0"),
        ({"C": float("inf")}, "C is inf"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"max_iter": 1.5}, "max_iter is 1.5"),
        ({"fit_intercept": "no"}, "fit_intercept is 'no', expected true or false"),
    ],
)
def test_parameters_out_of_range(options: dict[str, Any], told: str) -> None:
    with pytest.raises(HeadError, match=told):
        LogisticHead(**options).fit(*badly_scaled(20, 5))


def test_features_that_are_all_constant() -> None:
    X, y = np.full((30, 4), 0.3, np.float32), np.resize([0, 0, 1], 30)
    np.testing.assert_allclose(LogisticHead(standardize=True).fit(X, y).predict_proba(X)[:, 1], 1 / 3, atol=1e-3)
