"""What holds for every head, whoever wrote the classifier inside."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.exceptions
from sklearn.base import clone

from featurebank import make_head
from featurebank.errors import HeadError, HeadInputError, NotFittedError
from featurebank.explanation.methods import ImageBatch, choose_method
from featurebank.explanation.occlusion import occlusion_map
from featurebank.explanation.subject import Subject
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.heads.needs import VECTORS
from featurebank.heads.storage.saving import load_head, save_head

pytestmark = pytest.mark.heavy

WITHOUT_LAYERS = {
    "svm", "kernel_ridge", "knn", "random_forest", "xgboost", "xgboost_pca", "xgboost_coarse",
    "sklearn.ensemble:ExtraTreesClassifier",
}  # fmt: skip
"""What only occlusion explains."""


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters without the objects among them, whose own parameters are there too."""
    return {name: value for name, value in params.items() if not hasattr(value, "get_params")}


@pytest.fixture
def needs_map(kind: str) -> bool:
    return kind_of(kind.split(maxsplit=1)[0]).needs != VECTORS


@pytest.fixture
def sample(needs_map: bool, sampled: Any) -> Any:
    """Rows, for heads on maps maps."""
    return sampled(maps=needs_map)


@pytest.fixture
def pair(needs_map: bool, sampled: Any) -> Any:
    return sampled((3, 8), seed=2, maps=needs_map)


@pytest.fixture
def helped(kind: str, sample: Any) -> Any:
    """Validation data for those heads that cannot do without."""
    return sample.validation if "calibrated" in kind else None


def test_every_kind_is_tested_here(small: dict[str, Any]) -> None:
    assert set(HEADS) <= set(small)


def test_it_learns_what_is_easy(kind: str, fitted: Any, sample: Any) -> None:
    assert np.mean(fitted(kind).predict(sample.X_val) == sample.y_val) > 0.9
    assert fitted(kind).score(sample.X_val, sample.y_val) > 0.9


def test_classes_are_the_labels_in_order(kind: str, fitted: Any) -> None:
    assert list(fitted(kind).classes_) == [2, 5, 9]


def test_probabilities_are_probabilities(kind: str, fitted: Any, sample: Any) -> None:
    probabilities = fitted(kind).predict_proba(sample.X_val)
    assert probabilities.shape == (len(sample.X_val), 3)
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)


def test_the_prediction_is_the_most_probable_class(kind: str, fitted: Any, sample: Any) -> None:
    head = fitted(kind)
    assert np.array_equal(head.predict(sample.X_val), head.classes_[head.predict_proba(sample.X_val).argmax(1)])


def test_rows_are_judged_one_by_one(kind: str, fitted: Any, sample: Any) -> None:
    together = fitted(kind).predict_proba(sample.X_val[:4])
    alone = np.concatenate([fitted(kind).predict_proba(row[None]) for row in sample.X_val[:4]])
    assert np.allclose(together, alone, atol=1e-5)


def test_the_same_seed_gives_the_same_head(kind: str, fitted: Any, unfitted: Any, sample: Any) -> None:
    again = unfitted.fit(sample.X, sample.y, sample.validation)
    assert np.array_equal(again.predict_proba(sample.X_val), fitted(kind).predict_proba(sample.X_val))


def test_fit_returns_the_head_and_changes_nothing_else(unfitted: Any, sample: Any) -> None:
    X, y, X_val = sample.X.copy(), sample.y.copy(), sample.X_val.copy()
    before = plain(unfitted.get_params())
    assert unfitted.fit(sample.X, sample.y, sample.validation) is unfitted
    assert plain(unfitted.get_params()) == before
    assert np.array_equal(X, sample.X)
    assert np.array_equal(y, sample.y)
    unfitted.predict_proba(sample.X_val)
    assert np.array_equal(X_val, sample.X_val)


def test_read_only_features_do(unfitted: Any, sample: Any, helped: Any) -> None:
    X = sample.X.copy()
    X.setflags(write=False)
    assert unfitted.fit(X, sample.y, helped).score(X, sample.y) > 0.9


def test_maps_are_flattened(kind: str, fitted: Any, unfitted: Any, sample: Any, needs_map: bool) -> None:
    if needs_map:
        with pytest.raises(HeadError, match=r"the shape \(90, 98\), expected maps"):
            unfitted.fit(sample.X.reshape(90, 98), sample.y)
        return
    maps = sample.X.reshape(-1, 7, 7, 2), sample.X_val.reshape(-1, 7, 7, 2)
    unfitted.fit(maps[0], sample.y, (maps[1], sample.y_val))
    assert np.array_equal(unfitted.predict_proba(maps[1]), fitted(kind).predict_proba(sample.X_val))


def test_float64_features_do(kind: str, fitted: Any, sample: Any) -> None:
    wide = fitted(kind).predict_proba(sample.X_val.astype(np.float64))
    assert np.array_equal(wide, fitted(kind).predict_proba(sample.X_val))


def test_clone_keeps_every_parameter(kind: str, small: dict[str, Any]) -> None:
    head = make_head(kind.split(maxsplit=1)[0], small[kind], random_state=11)
    assert plain(clone(head).get_params()) == plain(head.get_params())
    assert clone(head).get_params()["random_state"] == 11
    assert all(head.get_params()[name] is value for name, value in head.get_params(deep=False).items())


def test_a_clone_is_not_fitted(kind: str, fitted: Any, sample: Any) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet: call fit"):
        clone(fitted(kind)).predict_proba(sample.X_val)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        clone(fitted(kind)).predict(sample.X_val)


def test_parameters_can_be_set(unfitted: Any) -> None:
    for name, value in plain(unfitted.get_params()).items():
        assert unfitted.set_params(**{name: value}) is unfitted
    assert unfitted.set_params(random_state=5).get_params()["random_state"] == 5
    with pytest.raises(ValueError, match="Invalid parameter"):
        unfitted.set_params(nothing=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite(kind: str, fitted: Any, unfitted: Any, sample: Any, bad: float) -> None:
    X = sample.X.copy()
    X[3, 5] = bad
    with pytest.raises(HeadError, match="NaN or infinite"):
        unfitted.fit(X, sample.y)
    with pytest.raises(HeadError, match="NaN or infinite"):
        fitted(kind).predict_proba(X)


def test_one_class(unfitted: Any, sample: Any) -> None:
    with pytest.raises(HeadError, match="1 class, expected 2 or more"):
        unfitted.fit(sample.X, np.full(len(sample.X), 7))


def test_labels_that_are_not_one_for_each_row(unfitted: Any, sample: Any) -> None:
    with pytest.raises(HeadError, match=r"inconsistent numbers of samples: \[90, 80\]"):
        unfitted.fit(sample.X, sample.y[:80])


def test_a_wrong_number_of_columns(kind: str, fitted: Any, sample: Any) -> None:
    message = r"X has (97|49) features, but \w+ is expecting 98 features.*(the maps are 7 x 7 x 1|input\.$)"
    with pytest.raises(HeadInputError, match=message):
        fitted(kind).predict(sample.X_val[..., 1:])


def test_no_rows_give_no_answers(kind: str, fitted: Any, sample: Any) -> None:
    for empty in (sample.X_val[:0], sample.X_val[:0].reshape(0, 7, 7, 2)):
        assert fitted(kind).predict_proba(empty).shape == (0, 3)
        assert fitted(kind).predict(empty).shape == (0,)


def test_two_classes(kind: str, unfitted: Any, pair: Any) -> None:
    unfitted.fit(pair.X, pair.y, pair.validation)
    probabilities = unfitted.predict_proba(pair.X_val)
    assert probabilities.shape == (len(pair.X_val), 2)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert unfitted.score(pair.X_val, pair.y_val) > 0.9
    assert set(unfitted.predict(pair.X_val)) == {3, 8}


def test_validation_labels_that_training_has_not(unfitted: Any, sample: Any) -> None:
    y_val = sample.y_val.copy()
    y_val[::3] = 77
    assert unfitted.fit(sample.X, sample.y, (sample.X_val, y_val)).score(sample.X, sample.y) > 0.9
    assert list(unfitted.classes_) == [2, 5, 9]


def test_validation_labels_that_are_all_unknown(unfitted: Any, sample: Any) -> None:
    unfitted.fit(sample.X, sample.y, (sample.X_val, np.full_like(sample.y_val, 1)))
    assert unfitted.score(sample.X, sample.y) > 0.9


def test_labels_may_be_words(unfitted: Any, sample: Any, helped: Any) -> None:
    names = np.array(["ant", "bee", "cat"])
    words = names[np.searchsorted([2, 5, 9], sample.y)]
    unfitted.fit(sample.X, words, helped and (helped[0], names[np.searchsorted([2, 5, 9], helped[1])]))
    assert list(unfitted.classes_) == ["ant", "bee", "cat"]
    assert unfitted.score(sample.X, words) > 0.9


def test_saved_and_loaded_it_answers_the_same(kind: str, fitted: Any, sample: Any, tmp_path: Path) -> None:
    save_head(fitted(kind), tmp_path / "a.head")
    loaded = load_head(tmp_path / "a.head")
    assert type(loaded) is type(fitted(kind))
    assert plain(loaded.get_params()) == plain(fitted(kind).get_params())
    assert np.array_equal(loaded.classes_, fitted(kind).classes_)
    assert np.array_equal(loaded.predict_proba(sample.X_val), fitted(kind).predict_proba(sample.X_val))
    assert np.array_equal(loaded.predict(sample.X_val), fitted(kind).predict(sample.X_val))
    with pytest.raises(HeadError, match=r"X has (97|49) features"):
        loaded.predict(sample.X_val[..., 1:])


def test_it_is_explained_or_says_how_it_can_be(kind: str, fitted: Any, sample: Any, needs_map: bool) -> None:
    """Heads with layers show which places of a map raise a score; occlusion asks for probabilities alone."""
    tap = {"vectors": "pooled", "maps": "map"}.get(fitted(kind).needs, "cut")
    maps = sample.X_val[:4] if needs_map else np.random.default_rng(0).normal(size=(4, 3, 3, 98)).astype(np.float32)
    bank: Any = SimpleNamespace(
        classes=tuple("0123456789"), recipe={"backbone": "a network"}, taps=(tap,),
        tap_shape=lambda tap: sample.X.shape[1:],
    )  # fmt: skip
    run: Any = SimpleNamespace(tap=tap, spec=kind)
    subject = Subject(bank, run, fitted(kind))
    drops = occlusion_map(
        np.zeros((14, 14, 3), np.uint8), 2, lambda images: subject.probabilities(sample.X_val[: len(images)]), 25
    )
    assert np.isfinite(drops).all()
    if kind in WITHOUT_LAYERS:
        with pytest.raises(HeadError, match="is not made of layers that have gradients: use --method occlusion"):
            choose_method(subject, "auto", None, no_network)
        return
    method = choose_method(subject, "auto", None, no_network)
    assert method is not None
    assert method.name in {"cam", "gradcam"}
    features = {"pooled": sample.X_val[:4], "map": maps, "cut": maps}
    heat = method.compute(ImageBatch(features, np.empty(0), sample.y_val[:4]))
    assert heat.ndim == 3
    assert len(heat) == 4
    assert np.isfinite(heat).all()
    assert heat.any()


def no_network() -> Any:
    raise AssertionError("the network is not needed")


def test_it_reads_vectors_in_the_bank_or_says_what_it_needs(
    kind: str, small: dict[str, Any], needs_map: bool, vector_bank: Any, set_ram: Any
) -> None:
    """Exact heads are the same; heads with epochs and boosted trees have tests of their own for what they are like."""
    name, streams = kind.split(maxsplit=1)[0], kind_of(kind.split(maxsplit=1)[0]).head_class.streams
    if needs_map or kind_of(name).is_neural:
        assert streams == (name in {"softmax", "mlp"})
        return
    bank = vector_bank(noise=0.7)
    specs = [(HeadSpec(name, {**small[kind], **({"pca": 4} if "pca" in small[kind] else {})}), 0)]
    expected, found = list[Fitted](), list[Fitted]()
    fit_heads(specs, TrainingData.of(bank, "pooled"), lambda _, result: expected.append(result))
    set_ram(3000)
    data = TrainingData.of(bank, "pooled")
    if streams:
        set_ram(10**9)  # for what it computes
    fit_heads(specs, data, lambda _, result: found.append(result))
    if not streams:
        assert found[0].failure is not None
        assert found[0].failure.startswith("it needs the features of tap 'pooled' in memory, 4.3 kB, and --ram allows")
        assert "--sample N, such as --sample 62" in found[0].failure
        return
    assert found[0].failure is None
    accuracies = [result[0].metrics["val"]["accuracy"] for result in (found, expected)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.1 if "xgboost" in name else 0)
    if "xgboost" not in name:
        X = bank.features("pooled", "test")
        np.testing.assert_allclose(found[0].head.predict_proba(X), expected[0].head.predict_proba(X), atol=1e-6)
