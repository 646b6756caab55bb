"""Sample weights and class weights: what scikit-learn, XGBoost and Keras make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import by_keras
import numpy as np
import pytest
import xgboost
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import has_fit_parameter

from featurebank import make_head
from featurebank.errors import HeadInputError
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.heads.joint_network import first_tensors
from featurebank.heads.needs import VECTORS
from featurebank.heads.storage.saving import load_head, save_head
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy

WEIGHTS = np.random.default_rng(0).choice([0.0, 0.5, 1.0, 3.0], 90)
ABOVE_0 = np.where(WEIGHTS > 0, WEIGHTS, 2.0)
BATCH_NORM = ("conv", "residual_stage", "tail")
"""Batch normalisation counts images: the law of these is that a weight of two is twice the loss."""
DRAWN = ("random_forest", "xgboost_pca")
"""Trees on images that are drawn by chance, and on components whose rounding decides about splits."""
SOME = {2: 0.1, 5: 30.0, 9: 1.0}
COUNTERPARTS: dict[str, tuple[dict[str, Any], Any]] = {
    "logistic": ({"C": 1.0}, LogisticRegression(tol=1e-10, max_iter=10_000)),
    "ridge": ({"alpha": 2.0, "standardize": False}, RidgeClassifier(alpha=2.0)),
    "svm": ({"C": 1.0, "gamma": 0.01}, SVC(break_ties=True, gamma=0.01)),
}


@pytest.mark.parametrize(
    ("class_weight", "weights"), [("balanced", None), (SOME, None), (None, WEIGHTS), (SOME, WEIGHTS)], ids=str
)
@pytest.mark.parametrize("kind", COUNTERPARTS)
def test_weights_are_scikit_learns(kind: str, weights: Any, class_weight: Any, hard: Any) -> None:
    params, theirs = COUNTERPARTS[kind]
    head = make_head(kind, {**params, "class_weight": class_weight}).fit(hard.X, hard.y, sample_weight=weights)
    theirs = clone(theirs).set_params(class_weight=class_weight)
    theirs.fit(hard.X.astype(np.float64), hard.y, sample_weight=weights)  # in float32 it stops far from the optimum
    if kind == "logistic":
        expected, tolerance = theirs.predict_proba(hard.X_val), 2e-4
    else:
        exponentials, tolerance = np.exp(theirs.decision_function(hard.X_val)), 2e-3
        expected = exponentials / exponentials.sum(1, keepdims=True)
    np.testing.assert_allclose(head.predict_proba(hard.X_val), expected, atol=tolerance)


def test_weights_of_kernel_ridge_are_scikit_learns(hard: Any) -> None:
    head = make_head("kernel_ridge", {"alpha": 0.3, "gamma": 0.01}).fit(hard.X, hard.y, sample_weight=ABOVE_0)
    targets = 2.0 * (hard.y[:, None] == head.classes_) - 1
    offset = np.average(targets, axis=0, weights=ABOVE_0)
    theirs = KernelRidge(alpha=0.3, gamma=0.01, kernel="rbf").fit(hard.X, targets - offset, sample_weight=ABOVE_0)
    np.testing.assert_allclose(head._logits(hard.X_val), theirs.predict(hard.X_val) + offset, atol=1e-6)


@pytest.mark.parametrize("kind", ["ridge", "logistic", "nearest_mean", "kernel_ridge"])
@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"pca": 4}, {"pca": 4, "standardize": True}], ids=str)
def test_a_weight_counts_as_copies(kind: str, params: dict[str, Any], hard: Any) -> None:
    weights = np.random.default_rng(1).integers(0, 4, len(hard.y))
    rows = np.repeat(np.arange(len(hard.y)), weights)
    weighted = make_head(kind, params).fit(hard.X, hard.y, sample_weight=weights)
    copied = make_head(kind, params).fit(hard.X[rows], hard.y[rows])
    np.testing.assert_allclose(weighted.predict_proba(hard.X_val), copied.predict_proba(hard.X_val), atol=1e-4)


def full_batch(params: dict[str, Any], rate: float) -> dict[str, Any]:
    """Parameters for plain gradient descent on all images at a time, where the mean loss is over images."""
    more = {"optimizer": "sgd", "momentum": 0.0, "batch_size": 1000, "epochs": 3, "learning_rate": rate}
    return {name: value for name, value in params.items() if name != "batch_norm_momentum"} | more


@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind not in {"knn", *BATCH_NORM, *DRAWN}])
def test_images_of_weight_2_are_images_twice_and_of_weight_0_are_none(
    kind: str, small: Any, hard: Any, hard_maps: Any
) -> None:
    data = hard if kind_of(kind).needs == VECTORS else hard_maps
    weights = np.random.default_rng(1).integers(0, 3, len(data.y))
    rows = np.repeat(np.arange(len(data.y)), weights)
    one = two = small[kind]
    if kind_of(kind).is_neural:
        one, two = full_batch(one, 0.05), full_batch(two, 0.05 * len(rows) / (weights > 0).sum())
        if kind in {"softmax", "mlp", "attention_pool"}:
            one, two = {**one, "standardize": True}, {**two, "standardize": True}
    weighted = make_head(kind, one).fit(data.X, data.y, sample_weight=weights)
    copied = make_head(kind, two).fit(data.X[rows], data.y[rows])
    tolerance = 0.02 if kind == "svm" else 2e-4  # libsvm stops at .001
    np.testing.assert_allclose(weighted.predict_proba(data.X_val), copied.predict_proba(data.X_val), atol=tolerance)


@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind != "knn"])
def test_images_of_weight_1_are_images_and_of_weight_0_are_none(
    kind: str, small: Any, hard: Any, hard_maps: Any
) -> None:
    """Bit for bit, for every kind."""
    data = hard if kind_of(kind).needs == VECTORS else hard_maps
    weights = (np.arange(len(data.y)) % 4 > 0).astype(float)
    params = {**small[kind], **({"epochs": 1} if kind_of(kind).is_neural else {})}
    weighted = make_head(kind, params).fit(data.X, data.y, sample_weight=weights)
    plain = make_head(kind, params).fit(data.X[weights > 0], data.y[weights > 0])
    assert np.array_equal(weighted.predict_proba(data.X_val), plain.predict_proba(data.X_val))


@pytest.mark.parametrize("kind", [*(kind for kind in HEADS if kind != "knn"), "sklearn.naive_bayes:GaussianNB"])
def test_a_weight_of_a_class_is_that_of_its_images(kind: str, small: Any, hard: Any, hard_maps: Any) -> None:
    data = hard if kind_of(kind).needs == VECTORS else hard_maps
    params = {**small.get(kind, {}), **({"epochs": 2} if kind_of(kind).is_neural else {})}
    weights = {2: 0.5, 5: 4.0, 9: 1.0}
    own = np.array([weights[label] for label in data.y.tolist()])
    head = make_head(kind, {**params, "class_weight": weights}).fit(data.X, data.y)
    expected = make_head(kind, params).fit(data.X, data.y, sample_weight=own)
    np.testing.assert_allclose(head.predict_proba(data.X_val), expected.predict_proba(data.X_val), atol=1e-5)


def test_a_classifier_without_weights_has_no_class_weights() -> None:
    assert "class_weight" in HEADS["knn"].wrong_names(["class_weight"])


def test_leave_one_out_leaves_out_a_weighted_image(hard: Any) -> None:
    head = make_head("ridge", {"alpha": [10.0], "standardize": False}).fit(hard.X, hard.y, sample_weight=ABOVE_0)
    right = []
    for left_out in range(len(hard.y)):
        rest = np.arange(len(hard.y)) != left_out
        theirs = RidgeClassifier(alpha=10.0).fit(hard.X[rest], hard.y[rest], ABOVE_0[rest])
        right.append(theirs.predict(hard.X[[left_out]])[0] == hard.y[left_out])
    assert head.loo_accuracy_ == pytest.approx(np.average(right, weights=ABOVE_0))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weights", [None, ABOVE_0], ids=["alike", "weighted"])
def test_a_booster_is_xgboosts_own(classes: int, weights: Any, hard: Any) -> None:
    rows = np.flatnonzero(np.isin(hard.y, (2, 5, 9)[:classes]))
    y, chosen = hard.y[rows], None if weights is None else weights[rows]
    head = make_head("xgboost", {"n_estimators": 8, "max_depth": 3}).fit(hard.X[rows], y, sample_weight=chosen)
    theirs = xgboost.XGBClassifier(n_estimators=8, max_depth=3, random_state=0)
    theirs.fit(hard.X[rows], np.unique(y, return_inverse=True)[1], sample_weight=chosen)
    np.testing.assert_allclose(head.predict_proba(hard.X_val), theirs.predict_proba(hard.X_val), atol=1e-6)


def test_revisions_change_only_where_results_do() -> None:
    boosted, softmax = HEADS["xgboost"].revision, HEADS["softmax"].revision
    assert [boosted({}, classes) for classes in (2, 3)] == [2, 1]
    given: list[dict[str, Any]] = [{}, {"l2": 0.1}, {"min_delta": 0.1}, {"min_delta": 0.1, "l2": 0.1}]
    assert [softmax(params, 2) for params in given] == [1, 2, 3, 3]


@pytest.mark.parametrize(("kind", "params"), [("softmax", {}), ("mlp", {"hidden_units": 8})])
def test_a_neural_head_is_what_keras_trains_with_weights(kind: str, params: dict[str, Any], hard: Any) -> None:
    import_tensorflow()
    import keras

    params = {**params, "epochs": 4, "learning_rate": 0.01, "class_weight": {5: 3.0}}
    head = make_head(kind, params, random_state=3).fit(hard.X, hard.y, hard.validation, ABOVE_0)
    sizes = [*head.layer_sizes(), 3]
    activations = ["relu"] * len(head.layer_sizes()) + ["softmax"]
    layers = [keras.layers.Dense(*layer) for layer in zip(sizes, activations, strict=True)]
    model, first = keras.Sequential([keras.Input(hard.X.shape[1:]), *layers]), first_tensors(head, hard.X.shape[1:], 3)
    for number, layer in enumerate(layers):
        layer.set_weights([first[head.kernel_names()[number]], first[f"bias_dense{number}"]])
    expected = by_keras.fit_watched(model, head, hard.X, hard.y, hard.validation, ABOVE_0)
    by_keras.assert_same_course(head.history_, expected)
    np.testing.assert_allclose(head.predict_proba(hard.X_val), np.asarray(model(hard.X_val)), atol=1e-3)


@pytest.mark.parametrize("kind", ["softmax", "conv", "residual_stage"])
def test_a_weight_of_two_is_twice_the_loss(kind: str, small: Any, hard: Any, hard_maps: Any) -> None:
    """With plain gradient descent, half the learning rate makes up for it."""
    data = hard if kind_of(kind).needs == VECTORS else hard_maps
    options = {**small[kind], "optimizer": "sgd", "epochs": 2}
    one, two = (make_head(kind, {**options, "learning_rate": rate}) for rate in (0.02, 0.01))
    one.fit(data.X, data.y)
    two.fit(data.X, data.y, sample_weight=np.full(len(data.y), 2.0))
    np.testing.assert_allclose(two.predict_proba(data.X_val), one.predict_proba(data.X_val), atol=1e-5)


@pytest.mark.parametrize("kind", ["ridge", "softmax"])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(90), "all sample weights are zero|at least one non-zero"),
        (np.full(90, -1.0), "[Nn]egative values"),
        (np.full(90, np.nan), "NaN"),
        (np.ones(80), "80"),
        ((np.arange(90) < 1).astype(float), "1 class, expected 2 or more"),
    ],
    ids=["zero", "negative", "nan", "few", "one class"],
)
def test_wrong_weights(kind: str, weights: np.ndarray, message: str, hard: Any) -> None:
    with pytest.raises(HeadInputError, match=message):
        make_head(kind).fit(hard.X, hard.y, sample_weight=weights)


@pytest.mark.parametrize("kind", ["knn"])
def test_a_classifier_without_weights_does_not_take_them(kind: str, hard: Any) -> None:
    assert not has_fit_parameter(make_head(kind), "sample_weight")
    assert has_fit_parameter(make_head("random_forest"), "sample_weight")
    with pytest.raises(TypeError, match="sample_weight"):
        make_head(kind).fit(hard.X, hard.y, sample_weight=ABOVE_0)


def test_heads_are_parts_of_other_estimators(hard: Any) -> None:
    search = GridSearchCV(make_pipeline(StandardScaler(), make_head("logistic")), {"logistichead__C": [0.1, 1.0]}, cv=2)
    members = [(kind, make_head(kind)) for kind in ("logistic", "ridge", "svm", "lda")]
    calibrated = CalibratedClassifierCV(make_head("svm"), cv=2, method="sigmoid")
    for model in (search, VotingClassifier(members, voting="soft"), calibrated):
        assert model.fit(hard.X, hard.y).score(hard.X_val, hard.y_val) > 0.5, model
    voting = VotingClassifier(members[:3], voting="soft")
    alike, weighted = (clone(voting).fit(hard.X, hard.y, sample_weight=weights) for weights in (None, ABOVE_0))
    assert not np.array_equal(weighted.predict_proba(hard.X_val), alike.predict_proba(hard.X_val))
    clone(calibrated).fit(hard.X, hard.y, sample_weight=ABOVE_0)


@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind_of(kind).needs == VECTORS])
def test_columns_of_a_table_keep_their_order(kind: str, small: Any, sample: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    names = [f"f{number}" for number in range(sample.X.shape[1])]
    table = pandas.DataFrame(sample.X, columns=names)
    head, plain = (
        make_head(kind, small[kind]).fit(table, sample.y),
        make_head(kind, small[kind]).fit(sample.X, sample.y),
    )
    assert list(head.feature_names_in_) == names
    assert np.array_equal(head.predict_proba(table), plain.predict_proba(sample.X))
    save_head(head, tmp_path / "a.head")
    loaded = load_head(tmp_path / "a.head")
    assert np.array_equal(loaded.predict_proba(table), head.predict_proba(table))
    for wrong in (table[names[::-1]], table.rename(columns={"f0": "other"})):
        for one in (head, loaded):
            with pytest.raises(HeadInputError, match="feature names should match those that were passed during fit"):
                one.predict(wrong)
    with pytest.raises(HeadInputError, match="feature names should match"):
        head.fit(table, sample.y, (table[names[::-1]], sample.y))
