"""Heads on images that stay in the bank are the heads on the same images in memory, whatever the size of a block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vector_banks import ArrayVectors

from featurebank import make_head
from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.streamed.passes import Passes
from featurebank.heads.streamed.vectors import StoredVectors

pytestmark = pytest.mark.heavy

Specs = Sequence[tuple[str, dict[str, Any]]]

SPECS: Specs = [
    ("ridge", {}),
    ("ridge", {"alpha": 3.0, "standardize": False}),
    ("ridge", {"alpha": "loo"}),
    ("ridge", {"alpha": [0.1, 10.0], "class_weight": "balanced", "pca": 3}),
    ("lda", {}),
    ("lda", {"shrinkage": 0.3, "standardize": True}),
    ("lda", {"pca": 3}),
    ("nearest_mean", {}),
    ("nearest_mean", {"metric": "cosine"}),
    ("nearest_mean", {"pca": 3, "whiten": True, "standardize": True}),
    ("logistic", {}),
    ("logistic", {"C": 10.0, "standardize": True, "class_weight": "balanced"}),
    ("logistic", {"pca": 3, "fit_intercept": False}),
    ("ridge", {"calibrate": "temperature"}),
]


def fitted(specs: Specs, data: TrainingData) -> list[Fitted]:
    results: dict[int, Fitted] = {}
    heads = [(HeadSpec(kind, params), 0) for kind, params in specs]
    fit_heads(heads, data, lambda position, result: results.update({position: result}))
    return [results[position] for position in range(len(specs))]


def stored(data: TrainingData, bank: Bank) -> TrainingData:
    """Returns the same data with features that stay in the bank."""
    train, val = (np.flatnonzero(bank.splits() == split) for split in ("train", "val"))
    X, X_val = StoredVectors(bank, "pooled", train), StoredVectors(bank, "pooled", val)
    return replace(data, X=X, X_val=X_val)


@pytest.fixture
def block_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the number of rows of a block."""
    return lambda rows: monkeypatch.setattr(Passes, "rows", lambda passes, width=0: rows)


def compare(found: Sequence[Fitted], expected: Sequence[Fitted]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.failure is other.failure is None
        assert one.notes == other.notes
        head, twin = (getattr(result.head, "head_", result.head) for result in (one, other))
        np.testing.assert_allclose(head.weights_, twin.weights_, rtol=1e-6, atol=1e-9 * np.abs(twin.weights_).max())
        np.testing.assert_allclose(head.bias_, twin.bias_, rtol=1e-6, atol=1e-9 * np.abs(twin.bias_).max())
        assert one.metrics["val"]["accuracy"] == other.metrics["val"]["accuracy"]
        assert one.metrics["val"]["loss"] == pytest.approx(other.metrics["val"]["loss"], rel=1e-6)
        assert one.metrics["train"] == pytest.approx(other.metrics["train"], rel=1e-6)
        assert one.right == other.right


@pytest.mark.parametrize("rows", [7, 64, 1000])
@pytest.mark.parametrize(
    "options", [{"dtype": "float16"}, {"missing": 1, "offset": 300.0}], ids=["float16", "a class missing, a large mean"]
)
def test_the_same_heads_as_in_memory(
    vector_bank: Callable[..., Bank], block_rows: Callable[[int], None], rows: int, options: dict[str, Any]
) -> None:
    bank = vector_bank(**options)
    data = TrainingData.of(bank, "pooled")
    expected = fitted(SPECS, data)
    block_rows(rows)
    compare(fitted(SPECS, stored(data, bank)), expected)


@pytest.mark.parametrize(
    ("kind", "params"),
    [("ridge", {}), ("ridge", {"alpha": "loo", "pca": 20}), ("lda", {}), ("lda", {"shrinkage": 0.5}),
     ("nearest_mean", {}), ("logistic", {})],
)  # fmt: skip
def test_products_of_features_serve_fewer_images_too(kind: str, params: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    y = np.arange(90) % 4
    X = random.normal(0, 1, (90, 120)).astype(np.float32)
    X[:, :4] += np.eye(4, dtype=np.float32)[y]
    one = alone(make_head(kind, params), StreamedShared(ArrayVectors(X), y))
    assert_equal(one, alone(make_head(kind, params), Shared(X, y)))


def test_heads_with_fewer_images_than_features_load_them(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    """Products of 180 images fit, those of 220 features do not."""
    bank = vector_bank(d=220)
    size = 4 * 180 * 220
    set_ram(4 * 8 * 180**2 + size)
    data = stored(TrainingData.of(bank, "pooled"), bank)
    assert [result.failure for result in fitted([("ridge", {}), ("nearest_mean", {})], data)] == [None, None]
    set_ram(size // 2)
    ridge, mean = fitted([("ridge", {}), ("nearest_mean", {})], stored(data, bank))
    assert mean.failure is None
    assert ridge.failure is not None
    assert ridge.failure.startswith("it needs the features of tap 'pooled' in memory, 158.4 kB, and --ram allows 79.2")


def test_a_covariance_of_few_classes_at_a_time_is_the_same(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any], block_rows: Callable[[int], None]
) -> None:
    bank = vector_bank()
    data = TrainingData.of(bank, "pooled")
    expected = fitted([("lda", {})], data)
    in_bank = stored(data, bank)
    block_rows(50)
    set_ram(12_000)  # an eighth of it holds the products of one class
    names: list[str] = []
    run = Passes.run_rows

    def run_rows(passes: Passes, *args: Any, **options: Any) -> None:
        names.append(options["what"])
        run(passes, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passes, "run_rows", run_rows)
        compare(fitted([("lda", {})], in_bank), expected)
    assert names.count("covariance of 1 of 4 classes") == 4


def test_a_grid_of_penalties_reads_the_features_once(
    vector_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = vector_bank()
    data = stored(TrainingData.of(bank, "pooled"), bank)
    passes: list[str] = []
    run = Passes.run

    def counting(self: Passes, *args: Any, **options: Any) -> None:
        passes.append(options["what"])
        run(self, *args, **options)

    monkeypatch.setattr(Passes, "run", counting)
    fitted([("ridge", {"alpha": 10.0**power}) for power in range(-5, 15)], data)
    assert passes.count("summing up") == 1


def alone(head: Any, shared: Shared) -> Any:
    """Fits a head on shared images."""
    assert [error for _, _, error in type(head).fit_path([head], shared)] == [None]
    return head


def assert_equal(head: Any, other: Any) -> None:
    atol = 1e-9 * np.abs(other.weights_).max()
    np.testing.assert_allclose(head.weights_, other.weights_, rtol=1e-6, atol=atol)


@pytest.mark.parametrize(("kind", "params"), [spec for spec in SPECS[:-1] if spec[0] != "lda"])
def test_weights_of_images_weigh_them_in_the_bank(
    kind: str, params: dict[str, Any], block_rows: Callable[[int], None]
) -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(5, 1, (200, 6)).astype(np.float32), random.integers(0, 4, 200)
    X[:, :4] += np.eye(4, dtype=np.float32)[y]
    weights = random.uniform(0.1, 3, 200)
    block_rows(33)
    one = alone(make_head(kind, params), StreamedShared(ArrayVectors(X), y, weights))
    assert_equal(one, alone(make_head(kind, params), Shared(X, y, weights)))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 250),
    power=st.integers(-3, 5),
    mean=st.sampled_from([0.0, 1e3, -1e5]),
    standardize=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_ridge_is_the_same_for_any_features_and_blocks(
    block_rows: Callable[[int], None], rows: int, power: int, mean: float, *, standardize: bool, seed: int
) -> None:
    """Products lose no digits where the mean is far larger than the deviation."""
    random = np.random.default_rng(seed)
    y = np.arange(200) % 3
    X = (random.normal(0, 10.0**power, (200, 5)) + mean).astype(np.float32)
    X[y == 1, 0] += np.float32(10.0**power)
    X[:, 4] = mean  # a constant feature
    block_rows(rows)
    params = {"alpha": 1.0, "standardize": standardize}
    one = alone(make_head("ridge", params), StreamedShared(ArrayVectors(X), y))
    assert_equal(one, alone(make_head("ridge", params), Shared(X, y)))


def test_heads_that_cannot_read_blocks_fail_alone(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank = vector_bank()
    set_ram(3000)
    knn, ridge, svm = fitted([("knn", {}), ("nearest_mean", {}), ("svm", {})], TrainingData.of(bank, "pooled"))
    assert ridge.failure is None
    for failed in (knn, svm):
        assert failed.short
        assert failed.failure is not None
        assert failed.failure.startswith(
            "it needs the features of tap 'pooled' in memory, 4.3 kB, and --ram allows 3.0 kB"
        )


def test_a_calibration_that_does_not_fit_says_so(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank = vector_bank()
    data = stored(TrainingData.of(bank, "pooled"), bank)
    set_ram(7000)
    plain, calibrated = fitted([("nearest_mean", {}), ("nearest_mean", {"calibrate": "temperature"})], data)
    assert plain.failure is None
    assert calibrated.failure is not None
    assert calibrated.failure.startswith("the probabilities of 60 images in 4 classes need 7.7 kB with their copies")


def test_features_that_are_not_finite_fail_the_heads(block_rows: Callable[[int], None]) -> None:
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    X[40, 1] = np.nan
    block_rows(20)
    head = make_head("ridge", {})
    (_, _, error) = next(iter(type(head).fit_path([head], StreamedShared(ArrayVectors(X), np.arange(50) % 2))))
    assert isinstance(error, HeadError)
    assert "the features hold NaN or infinite values" in str(error)
