"""Kernels are computed once, and the machines on them are scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from featurebank import make_head
from featurebank.errors import HeadError, HeadWarning, RamLimitError
from featurebank.heads.exact import kernel_base
from featurebank.heads.exact import kernels as support
from featurebank.heads.exact.kernels import KernelRidgeHead, SVMHead
from featurebank.heads.exact.shared import Shared


def steps_by_hand(X: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    inputs = np.abs(X.astype(np.float64)) ** options.get("power", 1.0) * np.sign(X)
    if options.get("normalize"):
        inputs = normalize(inputs)
    if options.get("standardize"):
        inputs = StandardScaler().fit_transform(inputs)
    if options.get("pca"):
        inputs = PCA(options["pca"]).fit_transform(inputs)
    return np.asarray(inputs)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"C": 0.3}, {"gamma": 0.02}, {"gamma": "auto"}, {"standardize": True, "pca": 5},
        {"power": 0.7, "normalize": True}, {"kernel": "rbf", "C": 100.0},
    ],
    ids=str,
)  # fmt: skip
def test_predictions_are_scikit_learns(hard: Any, options: dict[str, Any]) -> None:
    rows = np.concatenate([hard.X, hard.X_val])
    head = SVMHead(**options).fit(rows, np.concatenate([hard.y, hard.y_val]))
    inputs = steps_by_hand(rows, options)
    machine = SVC(C=options.get("C", 10.0), gamma=options.get("gamma", "scale"), break_ties=True)
    machine.fit(inputs, np.concatenate([hard.y, hard.y_val]))
    other = rows[::-1] * 0.9 + rows * 0.1
    told = machine.decision_function(inputs)
    found = head._logits(rows)
    np.testing.assert_allclose(found, told, atol=1e-3)
    assert np.array_equal(head.predict(rows), machine.predict(inputs))
    if not options.get("standardize"):
        assert np.array_equal(head.predict(other), machine.predict(steps_by_hand(other, options)))


def test_two_classes_are_a_logistic_function_of_the_decision(pair: Any) -> None:
    for kernel in ("rbf", "linear"):
        machine = SVC(C=10.0, kernel=kernel).fit(pair.X.astype(np.float64), pair.y)
        head = SVMHead(kernel=kernel).fit(pair.X, pair.y)
        expected = 1 / (1 + np.exp(-machine.decision_function(pair.X_val.astype(np.float64))))
        np.testing.assert_allclose(head.predict_proba(pair.X_val)[:, 1], expected, atol=1e-4)


def test_a_linear_machine_counts_votes_before_margins() -> None:
    X, y = load_digits(return_X_y=True)
    machine = SVC(C=1.0, kernel="linear", break_ties=True).fit(X[:600], y[:600])
    head = SVMHead(C=1.0, kernel="linear").fit(X[:600], y[:600])
    np.testing.assert_allclose(head._logits(X[600:]), machine.decision_function(X[600:]), atol=1e-6)
    assert np.array_equal(head.predict(X[600:]), machine.predict(X[600:]))
    assert head.score(X[600:], y[600:]) > 0.9


def test_a_linear_head_that_was_saved_before_votes_were_counted_predicts_what_it_did(hard: Any) -> None:
    head = SVMHead(C=0.01, kernel="linear").fit(hard.X, hard.y)
    arrays = {name: array for name, array in head.state().arrays.items() if name != "votes"}
    old = SVMHead(C=0.01, kernel="linear")
    old.set_state(head.state()._replace(arrays=arrays), head.classes_)
    machine = SVC(C=0.01, kernel="linear", decision_function_shape="ovo").fit(hard.X.astype(np.float64), hard.y)
    ab, ac, bc = machine.decision_function(hard.X_val.astype(np.float64)).T
    np.testing.assert_allclose(old._logits(hard.X_val), np.stack([ab + ac, bc - ab, -ac - bc], 1), atol=1e-4)
    assert "votes" not in old.state().arrays, "saved again, it stays what it is"
    weights, bias = old.linear_()
    np.testing.assert_allclose(hard.X_val @ weights + bias, old._logits(hard.X_val), atol=1e-4)
    assert np.array_equal(old.fit(hard.X, hard.y).predict(hard.X_val), head.predict(hard.X_val)), "trained again"


@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"pca": 5, "standardize": True}], ids=str)
@pytest.mark.parametrize("make", [SVMHead, KernelRidgeHead])
def test_a_linear_kernel_is_one_layer(hard: Any, pair: Any, make: Any, options: dict[str, Any]) -> None:
    data = pair if make is SVMHead else hard  # of more classes, there are votes
    head = make(kernel="linear", **options).fit(data.X, data.y)
    weights, bias = head.linear_()
    logits = data.X_val @ weights + bias
    expected = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(head.predict_proba(data.X_val), expected / expected.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    "head",
    [SVMHead(), SVMHead(kernel="linear"), SVMHead(kernel="linear", power=0.5), KernelRidgeHead()],
    ids=str,
)
def test_others_are_none(hard: Any, head: Any) -> None:
    with pytest.raises(HeadError, match="with these parameters is no linear function of the features"):
        head.fit(hard.X, hard.y).linear_()


@pytest.mark.parametrize(("kernel", "gamma"), [("rbf", 0.01), ("linear", 1.0)])
def test_kernel_ridge_is_scikit_learns(hard: Any, kernel: str, gamma: float) -> None:
    targets = (hard.y[:, None] == np.array([2, 5, 9])) * 2.0 - 1
    theirs = KernelRidge(alpha=0.5, kernel=kernel, gamma=gamma).fit(
        hard.X.astype(np.float64), targets - targets.mean(0)
    )
    head = KernelRidgeHead(alpha=0.5, kernel=kernel, gamma=gamma).fit(hard.X, hard.y)
    expected = theirs.predict(hard.X_val.astype(np.float64)) + targets.mean(0)
    np.testing.assert_allclose(head._logits(hard.X_val), expected, atol=1e-6)


def test_kernel_ridge_is_the_mean_of_a_gaussian_process(hard: Any) -> None:
    targets = (hard.y[:, None] == np.array([2, 5, 9])) * 2.0 - 1
    process = GaussianProcessRegressor(RBF(5.0), alpha=0.3, optimizer=None).fit(hard.X, targets - targets.mean(0))
    head = KernelRidgeHead(alpha=0.3, gamma=0.01, gamma_times=2.0).fit(hard.X, hard.y)
    np.testing.assert_allclose(head._logits(hard.X_val), process.predict(hard.X_val) + targets.mean(0), atol=1e-6)


def test_distances_are_computed_once_for_a_grid(hard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    distances = kernel_base.distances_of
    monkeypatch.setattr(kernel_base, "distances_of", lambda A, B: calls.append(len(B)) or distances(A, B))
    heads = [SVMHead(C=C, gamma_times=times) for C in (0.1, 1.0) for times in (0.5, 2.0)]
    list(SVMHead.fit_path([*heads, SVMHead(C=1.0, kernel="linear")], shared := Shared(hard.X, hard.y)))
    assert calls == [len(hard.X)]
    KernelRidgeHead().fit_shared(shared)
    assert len(calls) == 2, "a kernel is large: it is not held for heads of another kind"
    for head in heads:
        alone = SVMHead(**head.get_params()).fit(hard.X, hard.y)
        assert np.array_equal(alone.predict_proba(hard.X_val), head.predict_proba(hard.X_val))


def test_a_kernel_that_does_not_fit_is_not_held(hard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in ("rbf", "linear"):
        held = SVMHead(kernel=kernel).fit(hard.X, hard.y).predict_proba(hard.X_val)
        with monkeypatch.context() as patch:
            patch.setattr("featurebank.system.runtime._ram_limit", 300_000)
            with pytest.warns(HeadWarning, match=r"the kernel of 90 images needs .* it is not shared"):
                found = SVMHead(kernel=kernel).fit(hard.X, hard.y).predict_proba(hard.X_val)
            with pytest.raises(RamLimitError, match=r"the kernel of 90 images needs .* or ridge, which needs none"):
                KernelRidgeHead(kernel=kernel).fit(hard.X, hard.y)
        np.testing.assert_allclose(found, held, atol=1e-3)


def test_too_many_images_are_refused_at_once(hard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "MOST_IMAGES", 89)
    SVMHead().fit(hard.X, hard.y)
    monkeypatch.setattr("featurebank.system.runtime._ram_limit", 300_000)
    with pytest.raises(RamLimitError, match=r"the kernel of 90 images needs .* take max_images = 5000, logistic"):
        SVMHead().fit(hard.X, hard.y)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"C": 0}, "C is 0, expected a number above 0"),
        ({"kernel": "poly"}, "kernel is 'poly', expected rbf or linear .*sklearn.svm:SVC"),
        ({"gamma": "median"}, "gamma is 'median', expected a number above 0, 'scale' or 'auto'"),
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"gamma_times": 0}, "gamma_times is 0"),
        ({"power": -0.5}, "power is -0.5"),
        ({"pca": "all"}, "pca is 'all', expected a whole number"),
        ({"pca": 91}, "pca is 91, expected 1 to 90"),
    ],
)
def test_parameters_out_of_range(hard: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(HeadError, match=told):
        SVMHead(**options).fit(hard.X, hard.y)


def test_rows_of_nothing_are_left_as_they_are(hard: Any) -> None:
    X = hard.X.copy()
    X[3] = 0
    assert np.isfinite(SVMHead(normalize=True, power=0.5).fit(X, hard.y).predict_proba(X)).all()


@pytest.mark.parametrize("kind", ["svm", "kernel_ridge"])
def test_a_part_of_the_images_is_enough(kind: str, sample: Any) -> None:
    y = sample.y.copy()
    y[0] = 77  # drawn whatever chance says: a head knows every class
    head = make_head(kind, {"max_images": 30}).fit(sample.X, y)
    assert list(head.classes_) == [2, 5, 9, 77]
    kept = head.support_vectors_ if kind == "svm" else head.images_
    assert len(kept) <= 30
    assert np.mean(head.predict(sample.X_val) == sample.y_val) > 0.9
    whole, most = (make_head(kind, params).fit(sample.X, y) for params in ({}, {"max_images": len(y)}))
    assert np.array_equal(whole.predict_proba(sample.X_val), most.predict_proba(sample.X_val))
    with pytest.raises(HeadError, match="max_images is 1, expected a whole number of 2 or more"):
        make_head(kind, {"max_images": 1}).fit(sample.X, y)
