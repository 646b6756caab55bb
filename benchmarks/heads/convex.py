"""How much faster are paths of penalties from one decomposition than scikit-learn's fits, and are they as good?

Made features of 2700 images x 2048, 5 classes. Ridge: 20 penalties, of which scikit-learn's `RidgeClassifierCV` takes
one by exact leave-one-out; one head of featurebank does the same, and 20 heads are what a grid fits, to be judged on
validation images. Logistic regression: 10 values of C, each fitted cold by scikit-learn to its own default tolerance.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from benchmarks.harness import Contest
from benchmarks.heads.made import Data
from featurebank.heads.exact.base import ExactHead
from featurebank.heads.exact.closed_form import RidgeHead
from featurebank.heads.exact.logistic import LogisticHead
from featurebank.heads.exact.shared import Shared
from featurebank.system.runtime import limited_blas

_MOST = 1000
"""Steps that scikit-learn's fits may take."""


def contests(rounds: int, data: Data, *, quick: bool) -> list[Contest]:
    """Runs the contests and returns their figures.

    Args:
        rounds: how many turns each contestant has.
        data: training and validation features and labels.
        quick: take an eighth of the features, to see that all works.
    """
    import scipy.linalg
    import scipy.optimize
    import sklearn.linear_model  # noqa: F401 - before any clock runs, and before threads are limited

    assert scipy.linalg, scipy.optimize
    X, y, X_val, y_val = data
    width = X.shape[1] // 8 if quick else X.shape[1]
    data = X[:, :width].copy(), y, X_val[:, :width].copy(), y_val
    with limited_blas():
        return [_ridge(rounds, data), _logistic(rounds, data)]


def _ridge(rounds: int, data: Data) -> Contest:
    from sklearn.linear_model import RidgeClassifierCV

    X, y, X_val, y_val = data
    alphas = np.logspace(0, 5, 20).tolist()
    contest = Contest("ridge, 20 penalties", 20, "penalties", "RidgeClassifierCV")
    for _ in range(rounds):
        theirs = contest.time("RidgeClassifierCV", lambda: RidgeClassifierCV(alphas).fit(X, y))
        contest.notes["RidgeClassifierCV"] = f"takes {theirs.alpha_:.4g}: validation {theirs.score(X_val, y_val):.4f}"
        name = "featurebank, one head by leave-one-out"
        ours = contest.time(name, lambda: RidgeHead(alpha=alphas).fit(X, y))
        contest.notes[name] = f"takes {ours.alpha_:.4g}: validation {ours.score(X_val, y_val):.4f}"
        name = "featurebank, 20 heads"
        heads = contest.time(name, lambda: _path([RidgeHead(alpha=alpha) for alpha in alphas], X, y))
        contest.notes[name] = f"best by validation {max(head.score(X_val, y_val) for head in heads):.4f}"
    return contest


def _logistic(rounds: int, data: Data) -> Contest:
    X, y, X_val, y_val = data
    values = np.logspace(-4, 0, 10).tolist()
    theirs, ours = "LogisticRegression, cold", "featurebank, one path"
    contest = Contest("logistic regression, 10 values of C", 10, "values", theirs)
    for _ in range(rounds):
        results: dict[str, list[Any]] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what did not converge is counted below
            results[theirs] = contest.time(theirs, lambda: [_cold(C).fit(X, y) for C in values])
        results[ours] = contest.time(ours, lambda: _path([LogisticHead(C=C) for C in values], X, y))
        objectives = {n: [_objective(m, X, y) for m in models] for n, models in results.items()}
        least = [min(o[i] for o in objectives.values()) for i in range(len(values))]
        for name, models in results.items():
            gap = max(o / t - 1 for o, t in zip(objectives[name], least, strict=True))
            best = max(model.score(X_val, y_val) for model in models)
            contest.notes[name] = f"best by validation {best:.4f}, objective within {gap:.0e}"
        stopped = sum(int(model.n_iter_.max()) >= _MOST for model in results[theirs])
        contest.notes[theirs] += f", {stopped} stopped after {_MOST} steps" if stopped else ""
    return contest


def _cold(C: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=_MOST)


def _path(heads: list[Any], X: np.ndarray, y: np.ndarray) -> list[Any]:
    kind: type[ExactHead] = type(heads[0])
    with limited_blas(1):  # as a grid does, which has another path on the other core
        for _, _, failure in kind.fit_path(heads, Shared(X, y)):
            if failure:
                raise failure
    return heads


def _objective(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    from scipy.special import log_softmax

    weights, bias = model.linear_() if isinstance(model, ExactHead) else (model.coef_.T, model.intercept_)
    told = log_softmax(X @ weights.astype(np.float64) + bias, axis=1)
    return float((weights.astype(np.float64) ** 2).sum() / 2 / model.C - told[np.arange(len(y)), y].sum())
