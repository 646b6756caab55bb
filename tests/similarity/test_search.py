"""The nearest rows of a bank: exactly those of plain numpy, whatever the features are and however they are stored."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.errors import BankDamagedError
from featurebank.similarity import search
from featurebank.similarity.search import DECIMALS, nearest
from featurebank.system import digest

TAP = "pooled"
NUMBERS = itertools.count()


def save(path: Path, rows: np.ndarray, dtype: str, *, shared: int = 0, unused: int = 0, views: int = 0) -> Bank:
    """A bank of these rows in three shards, which are not in the order of the images.

    Args:
        path: its directory.
        rows: (n, ...) the features of n images, in the order of `Bank.ids()`.
        dtype: how they are stored.
        shared: so many of the images have two ids.
        unused: so many rows belong to no image any more.
        views: augmented views of each image, which are nearer than any clean image.
    """
    digests = np.array(sorted(digest.of_bytes(bytes(divmod(number, 256))) for number in range(len(rows))), "S32")
    order = np.random.default_rng(0).permutation(len(rows))
    strangers = [(np.array([b"%032d" % number for number in range(unused)], "S32"), rows[:unused] * 0 + 1)]
    with BankWriter(path, {"backbone": "none"}, {"name": "data", "spec": "made", "classes": ["a", "b"]}) as writer:
        for view in range(views + 1):
            parts = [
                (digests[here], rows[here] if view == 0 else rows[here] * 0 + 1) for here in np.array_split(order, 3)
            ]
            for keys, block in [*parts, *strangers]:
                if len(keys):
                    writer.append([""] * len(keys), row_keys(keys, view), {TAP: block}, {TAP: dtype})
                    writer.flush()
        places = np.sort(np.r_[np.arange(len(rows)), np.arange(shared)])
        labels = np.zeros(len(places), np.int32)
        items = Items([f"{n:04d}" for n in range(len(places))], digests[places], labels, labels.astype(np.uint8))
        writer.finish(items, [TAP], [], None)
    return Bank(path)


def plain(rows: np.ndarray, vector: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The answer of plain numpy, in long doubles and over all rows; the square of no float32 overflows there."""
    wide, one = rows.astype(np.longdouble), vector.astype(np.longdouble)
    lengths = np.sqrt(np.square(wide).sum(axis=1)) * np.sqrt(np.square(one).sum())
    values = np.where(lengths > 0, (wide * one).sum(axis=1) / np.where(lengths > 0, lengths, 1), 0)
    values = np.round(values.astype(np.float64), DECIMALS)
    order = np.lexsort((np.arange(len(values)), -values))[:top]
    return order, values[order]


def features(seed: int, count: int, width: int, kind: str) -> np.ndarray:
    """Random rows with duplicates, multiples, zeros and opposites among them."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, width)).astype(np.float32)
    if kind == "few values":
        rows = np.round(rows)
    if kind == "alike":
        rows = 1 + rows * np.float32(1e-4)
    for change in (lambda row: row, lambda row: 3 * row, lambda row: -row, lambda row: 0 * row):
        rows[random.integers(count)] = change(rows[random.integers(count)])
    return rows


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6), count=st.integers(1, 40), width=st.integers(1, 20), queries=st.integers(1, 5),
    top=st.integers(1, 50), dtype=st.sampled_from(["float32", "float16"]),
    kind=st.sampled_from(["normal", "few values", "alike"]), shared=st.integers(0, 1),
)  # fmt: skip
@example(seed=1, count=40, width=1, queries=1, top=3, dtype="float32", kind="few values", shared=1)
def test_as_plain_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, count: int, width: int, queries: int, top: int,
    dtype: str, kind: str, shared: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(search, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(search, "_QUERIES", 2)
    monkeypatch.setattr(search, "_RESCORED", 3)
    rows = features(seed, count, width, kind)
    bank = save(tmp_path / str(next(NUMBERS)), rows, dtype, shared=min(count, 9 * shared), unused=min(count, 3))
    vectors = np.concatenate([bank.features(TAP)[:2], features(seed + 1, 9, width, kind)])[:queries]
    for vector, (positions, cosines) in zip(vectors, nearest(bank, TAP, vectors, top), strict=True):
        expected, values = plain(bank.features(TAP), vector, top)
        assert positions.tolist() == expected.tolist()
        assert cosines.tolist() == values.tolist()


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e18, 1e30, 3e37])
def test_lengths_do_not_matter_not_even_extreme_ones(tmp_path: Path, scale: float) -> None:
    rows = features(0, 30, 9, "normal") * np.random.default_rng(1).choice([1, scale], (30, 1)).astype(np.float32)
    bank = save(tmp_path / "bank", rows, "float32")
    for vector in rows[:3]:
        ((positions, cosines),) = nearest(bank, TAP, vector[np.newaxis], 8)
        expected, values = plain(rows, vector, 8)
        assert positions.tolist() == expected.tolist()
        assert cosines.tolist() == values.tolist()


def test_maps_are_compared_by_their_averages(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(20, 2, 3, 8)).astype(np.float32)
    bank = save(tmp_path / "bank", maps, "float16")
    averages = bank.features(TAP).mean(axis=(1, 2), dtype=np.float64)
    ((positions, _),) = nearest(bank, TAP, averages[4:5], 20)
    assert positions.tolist() == plain(averages, averages[4], 20)[0].tolist()


def test_augmented_views_are_no_neighbours(tmp_path: Path) -> None:
    rows = features(0, 12, 5, "normal")
    bank = save(tmp_path / "bank", rows, "float32", views=2)
    ((positions, cosines),) = nearest(bank, TAP, np.ones((1, 5)), 99)
    assert sorted(positions.tolist()) == list(range(12))
    assert cosines.tolist() == plain(rows, np.ones(5), 12)[1].tolist()


def test_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    bank = save(tmp_path / "bank", features(0, 12, 5, "normal"), "float32")
    nearest(bank, TAP, np.ones((1, 5)), 1)
    next(bank.path.glob("shard-*.h5")).unlink()
    with pytest.raises(BankDamagedError, match="does not exist"):
        nearest(bank, TAP, np.ones((1, 5)), 1)


def test_rows_that_a_writer_moves_meanwhile_are_counted_once(tmp_path: Path) -> None:
    rows = features(0, 30, 5, "normal")
    bank = save(tmp_path / "bank", rows, "float32")
    nearest(bank, TAP, np.ones((1, 5)), 1)  # it knows where the rows are
    moved = save(tmp_path / "other", rows, "float32")
    with BankWriter(bank.path, {"backbone": "none"}, {"name": "data", "spec": "made", "classes": ["a", "b"]}) as writer:
        whole = moved.features(TAP)
        writer.replace(writer.manifest.shards, [])
        writer.append([""] * 30, row_keys(moved.digests()), {TAP: whole}, {TAP: "float32"})
    ((positions, _),) = nearest(bank, TAP, np.ones((1, 5)), 30)
    assert sorted(positions.tolist()) == list(range(30))
