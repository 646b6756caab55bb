"""Maps in memory and maps that stay in the bank: the same rows, the same heads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import make_head
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.errors import HeadError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.folds import Fold, FoldedImages
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.maps import stored as maps_module
from featurebank.heads.maps.stored import StoredMaps, as_maps, blocks, channel_statistics, in_order, pooled
from featurebank.system import digest

pytestmark = pytest.mark.heavy


@pytest.fixture
def bank(tmp_path: Path, hard_maps: Any) -> Bank:
    """The overlapping classes as a bank with two views, each stored in float16."""
    X = np.concatenate([hard_maps.X, hard_maps.X_val])
    y = np.searchsorted([2, 5, 9], np.concatenate([hard_maps.y, hard_maps.y_val])).astype(np.int32)
    ids = [f"{n}.png" for n in range(len(X))]
    digests = np.array([digest.of_recipe(name) for name in ids], "S32")
    which = np.repeat([0, 1], [len(hard_maps.X), len(hard_maps.X_val)]).astype(np.uint8)
    with BankWriter(tmp_path / "bank", {"backbone": "none"}, {"name": "made", "classes": ["a", "b", "c"]}) as writer:
        for view, values in enumerate((X, X[:, ::-1])):
            writer.append(ids, row_keys(digests, view), {"map": values}, {"map": "float16"})
        writer.finish(Items(ids, digests, y, which), ("map",), (), None, views=1)
    return Bank(tmp_path / "bank")


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than two views of the training maps would take twice (70,560 bytes), more than one view of them."""
    monkeypatch.setattr("featurebank.system.runtime._ram_limit", 60_000)


def results(specs: list[tuple[str, dict[str, Any]]], data: TrainingData) -> list[Fitted]:
    found: dict[int, Fitted] = {}
    wanted = [(HeadSpec(kind, params, "map"), 0) for kind, params in specs]
    fit_heads(wanted, data, lambda position, fitted: found.update({position: fitted}))
    return [found[position] for position in range(len(specs))]


HEADS: list[tuple[str, dict[str, Any]]] = [
    ("conv", {"filters": 3, "epochs": 3, "learning_rate": 0.01, "standardize": True}),
    ("attention_pool", {"epochs": 3, "learning_rate": 0.01, "calibrate": "temperature"}),
    ("gem_pool", {"epochs": 2}),
    ("cam", {"epochs": 3, "learning_rate": 0.01, "standardize": True}),
    ("residual_stage", {"filters": [2, 2, 3], "blocks": 1, "epochs": 2, "learning_rate": 0.01}),
]


@pytest.mark.xla
def test_what_is_streamed_is_what_is_in_memory(bank: Bank, request: pytest.FixtureRequest) -> None:
    here = TrainingData.of(bank, "map")
    assert isinstance(here.X, np.ndarray)
    assert len(here.views) == 1
    expected = results(HEADS, here)
    folded = FoldedImages(bank, "map").data(Fold(1, 3))
    request.getfixturevalue("little_memory")
    data = TrainingData.of(bank, "map")
    assert isinstance(data.X, StoredMaps)
    assert (data.shape, len(data.X), data.X.views) == ((7, 7, 2), 90, 2)
    for one, other in zip(results(HEADS, data), expected, strict=True):
        assert one.failure is other.failure is None
        assert one.history == other.history
        assert one.metrics == other.metrics
    stored = FoldedImages(bank, "map").data(Fold(1, 3))
    assert isinstance(stored.X, StoredMaps)
    assert isinstance(folded.X, np.ndarray)
    assert np.array_equal(np.asarray(stored.X), folded.X)
    assert np.array_equal(np.asarray(stored.X_val), folded.X_val)
    for one, other in zip(results(HEADS[:1], stored), results(HEADS[:1], folded), strict=True):
        assert one.metrics == other.metrics


def test_heads_of_vectors_on_maps_that_do_not_fit(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.system.runtime._ram_limit", 30_000)
    data = TrainingData.of(bank, "map")
    failures = [fitted.failure for fitted in results([("knn", {}), ("softmax", {}), ("gem_pool", {"epochs": 1})], data)]
    for failure in failures[:2]:
        assert failure is not None
        assert failure.startswith("the features of tap 'map' need 0.00 GB of memory")
    assert failures[2] is None


def test_what_fits_after_all_is_read_for_heads_of_vectors(bank: Bank, little_memory: None) -> None:
    data = TrainingData.of(bank, "map")
    whole = data.in_memory
    assert whole is data.in_memory
    assert isinstance(whole.X, np.ndarray)
    assert np.array_equal(whole.X, bank.features("map", "train"))
    assert np.array_equal(whole.views[0], bank.features("map", "train", view=1))
    assert results([("knn", {})], data)[0].failure is None


def test_rows_of_views(bank: Bank) -> None:
    stored = StoredMaps(bank, "map", np.arange(90), 2)
    memory = as_maps(bank.rows("map", np.arange(90)), [bank.rows("map", np.arange(90), view=1)])
    rows = np.array([3, 89, 90 + 3, 0, 179])
    assert np.array_equal(stored.batch(rows), memory.batch(rows))
    assert np.array_equal(stored.batch(rows)[0, ::-1], stored.batch(rows)[2])
    assert (stored.shape, stored.views, stored.ndim) == ((90, 7, 7, 2), 2, 4)
    part = stored[np.arange(90) % 2 == 0]
    assert np.array_equal(part.batch(np.array([1, 46])), stored.batch(np.array([2, 92])))


def test_blocks_come_in_order_whatever_is_read_at_a_time(maps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = as_maps(maps.X)
    rows = [np.array([5, 6]), np.array([0, 1, 2]), np.array([89]), np.array([5])]
    for ahead in (1, 2500, 1 << 20):
        monkeypatch.setattr(maps_module, "_AHEAD_BYTES", ahead)
        for block, chosen in zip(blocks(memory, rows), rows, strict=True):
            assert np.array_equal(block, maps.X[chosen])
    assert list(blocks(memory, [])) == []


def test_the_first_batch_waits_for_no_other(maps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, received = as_maps(maps.X), threading.Event()
    read: list[int] = []
    batch = memory.batch

    def slow(rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        assert len(read) == 1 or received.wait(30), "the second reading goes on when the first batch is there"
        return batch(rows)

    monkeypatch.setattr(type(memory), "batch", lambda self, rows: slow(rows))
    reading = blocks(memory, in_order(memory, 2))
    assert len(next(reading)) == 2
    received.set()
    assert sum(map(len, reading)) == len(maps.X) - 2
    assert read == [2, len(maps.X) - 2]


def test_who_stops_early_leaves_no_thread_behind(maps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps_module, "_AHEAD_BYTES", 1)
    reading = blocks(as_maps(maps.X), in_order(as_maps(maps.X), 2))
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("featurebank-maps")]:
        thread.join(20)  # it ends the block that it is at, and reads no other
        assert not thread.is_alive()


def test_what_reading_raises_is_raised_where_it_was_asked_for(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = StoredMaps(bank, "map", np.arange(90))

    def damaged(*_: Any, **__: Any) -> None:
        message = "gone"
        raise OSError(message)

    monkeypatch.setattr(bank, "rows", damaged)
    with pytest.raises(OSError, match="gone"):
        list(blocks(stored, in_order(stored, 64)))


def test_averages_and_statistics(maps: Any) -> None:
    X = maps.X.copy()
    X[..., 1] = 1e4  # a channel that does not vary stays as it is
    memory = as_maps(X)
    np.testing.assert_allclose(pooled(memory), X.mean((1, 2)), rtol=1e-5)
    mean, scale = channel_statistics(memory)
    np.testing.assert_allclose(mean, X.mean((0, 1, 2), dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(scale, [X[..., 0].std(dtype=np.float64), 1], rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda X: X.reshape(90, -1), r"the shape \(90, 98\), expected maps"),
        (lambda X: X * np.nan, "NaN or infinite"),
    ],
)
def test_what_is_no_map(maps: Any, change: Callable[[Any], Any], told: str) -> None:
    for kind in ("conv", "cam", "residual_stage"):
        with pytest.raises(HeadError, match=told):
            make_head(kind).fit(change(maps.X), maps.y)


def test_validation_maps_of_another_shape(maps: Any) -> None:
    with pytest.raises(HeadError, match="validation maps are"):
        make_head("conv").fit(maps.X, maps.y, (maps.X_val[:, 1:], maps.y_val))
