"""A made bank is a true bank: it opens, it verifies, and what was interrupted goes on to the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import made as made_rows
from benchmarks.scale.made import MadeRows, make_bank
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.errors import ConfigError

MADE = MadeRows(10_000, 8, "float16", classes=5)


def files_of(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("*-*.*")}


def test_a_made_bank_is_whole(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank", MADE)
    features, labels = bank.features("pooled"), bank.labels()
    assert features.shape == (10_000, 8)
    assert bank.tap_dtype("pooled") == "float16"
    assert len(set(bank.ids())) == 10_000
    assert "images/0000/00001234.jpg" in bank.ids()
    assert np.bincount(labels).min() > 1800
    counts = [np.count_nonzero(bank.splits() == split) for split in ("train", "val", "test")]
    np.testing.assert_allclose(counts, [7000, 1500, 1500], rtol=0.05)
    assert not verify_bank(bank.path).damaged


def test_classes_can_be_learned_but_not_without_mistakes(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank", MadeRows(6_000, 64, "float32", classes=10))
    X, y = bank.features("pooled", "train"), bank.labels("train")
    means = np.stack([X[y == label].mean(axis=0) for label in range(10)])
    distances = ((bank.features("pooled", "val")[:, None] - means) ** 2).sum(axis=2)
    assert 0.3 < np.mean(distances.argmin(axis=1) == bank.labels("val")) < 0.95


def test_what_was_interrupted_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_bank(tmp_path / "whole", MADE)
    monkeypatch.setattr(made_rows, "LISTED_TOGETHER", 1)
    written, write = [], made_rows.write_shard

    def dies(path: Path, *parts: object) -> object:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, *parts)  # type: ignore[arg-type]

    monkeypatch.setattr(made_rows, "write_shard", dies)
    with pytest.raises(KeyboardInterrupt):
        make_bank(tmp_path / "other", MADE)
    written.clear()
    other = make_bank(tmp_path / "other", MADE)
    assert len(written) == 1
    assert files_of(other.path) == files_of(whole.path)


def test_another_bank_is_not_continued(tmp_path: Path) -> None:
    make_bank(tmp_path / "bank", MADE)
    with pytest.raises(ConfigError, match="another recipe"):
        make_bank(tmp_path / "bank", MadeRows(10_000, 16))
