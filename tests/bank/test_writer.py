"""Rows go in once, come out as they were, and what is unfinished does not exist."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank.bank import writer as module
from featurebank.bank.manifest import load_manifest
from featurebank.bank.reader import Bank
from featurebank.bank.writer import row_keys
from featurebank.errors import BankNotFoundError, ConfigError, FeatureRangeError


def put(to: module.BankWriter, block: np.ndarray, dtype: str | None, tap: str = "pooled") -> None:
    digests = np.array([f"{n:032x}".encode() for n in range(len(block))], "S32")
    to.append([f"image {n}" for n in range(len(block))], row_keys(digests), {tap: block}, {tap: dtype})


def test_what_is_appended_survives_an_exception(tmp_path: Path, rows: SimpleNamespace) -> None:
    def interrupted() -> None:
        with rows.writer(tmp_path) as to:
            rows.append(to, range(5), "pooled")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with rows.writer(tmp_path) as to:
        assert to.stored("pooled").tolist() == rows.digests(range(5)).tolist()
        assert len(to.stored("map")) == 0


def test_nothing_appended_makes_no_bank(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path):
        pass
    with pytest.raises(BankNotFoundError):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("limit", "value", "shards"), [("SHARD_ROWS", 4, 3), ("SHARD_BYTES", 5 * 32, 2), ("SHARD_SECONDS", 0, 10)]
)
def test_shards_end_at_the_first_limit(
    tmp_path: Path, rows: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, shards: int
) -> None:
    monkeypatch.setattr(module, limit, value)
    with rows.writer(tmp_path) as to:
        for n in range(10):
            rows.append(to, range(n, n + 1), "pooled")
    assert len(load_manifest(tmp_path).shards) == shards
    assert sum(shard.rows for shard in load_manifest(tmp_path).shards) == 10


def test_other_taps_begin_another_shard(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as to:
        rows.append(to, range(5), "pooled")
        rows.append(to, range(5, 9), "pooled", "map")
    assert [sorted(shard.taps) for shard in load_manifest(tmp_path).shards] == [["pooled"], ["map", "pooled"]]


def test_types(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as to:
        put(to, np.ones((2, 3), np.float32), None, "vector")
        put(to, np.ones((2, 3, 3, 1), np.float32), None, "map")
        put(to, np.ones((2, 3), np.float32), "float16", "small")
        to.flush()
        assert [to.stored_dtype(t) for t in ("vector", "map", "small", "none")] == [
            "float32", "float16", "float16", None,
        ]  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_no_number_is_refused_and_named(
    tmp_path: Path, rows: SimpleNamespace, value: float, dtype: str
) -> None:
    block = np.ones((4, 2, 2, 1), np.float32)
    with rows.writer(tmp_path) as to:
        rows.append(to, range(10, 12), "pooled")
        block[2, 1, 0, 0] = value
        with pytest.raises(FeatureRangeError, match="'pooled' is NaN or infinite for image 'image 2'"):
            put(to, block, dtype)
    assert sum(shard.rows for shard in load_manifest(tmp_path).shards) == 2, "no row of the refused call"


@pytest.mark.parametrize("value", [65600.0, -65600.0])
def test_out_of_range_of_float16(tmp_path: Path, rows: SimpleNamespace, value: float) -> None:
    with rows.writer(tmp_path) as to:
        put(to, np.full((1, 2), 65504, np.float32), "float16")
        with pytest.raises(FeatureRangeError, match="--store float32"):
            put(to, np.full((1, 2), value, np.float32), "float16", "map")
        put(to, np.full((1, 2), value, np.float32), "float32", "other")


def test_leftovers_of_the_dead_are_removed(tmp_path: Path, rows: SimpleNamespace) -> None:
    (tmp_path / ".writing-123-shard-a.h5").write_bytes(b"half")
    (tmp_path / "shard-unlisted.h5").write_bytes(b"renamed, never listed")
    with rows.writer(tmp_path) as to:
        assert not list(tmp_path.glob(".writing-*-shard*"))
        rows.append(to, range(4), "pooled")
        to.finish(rows.items(range(4)), ["pooled"], [], None)
    assert np.array_equal(Bank(tmp_path).features(), rows.features(range(4)))


def test_another_recipe_is_refused(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as to:
        rows.append(to, range(2), "pooled")
    with pytest.raises(ConfigError, match="another recipe"):
        rows.writer(tmp_path, {**rows.recipe, "weights": "other"}).__enter__()
    with rows.writer(tmp_path) as to:
        assert len(to.stored("pooled")) == 2


def test_one_table_of_items_at_a_time(tmp_path: Path, rows: SimpleNamespace) -> None:
    for count in (2, 3):
        with rows.writer(tmp_path) as to:
            rows.append(to, range(count), "pooled")
            to.finish(rows.items(range(count)), ["pooled"], [], None)
    assert len(list(tmp_path.glob("items-*"))) == 1
    assert len(Bank(tmp_path)) == 3
