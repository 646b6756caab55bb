"""Labels on their way from folders to banks and heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.dataset import load_dataset
from featurebank.errors import FeatureBankError
from featurebank.extraction import extract
from featurebank.grid import train_heads
from featurebank.heads.runs import load_runs


def names_of(bank: Bank) -> list[str]:
    return [bank.classes[label] for label in bank.labels()]


def test_a_bank_of_another_order_of_classes_is_relabelled(
    tmp_path: Path, photo: Any, pixels: Any, lite: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        for index in range(4):
            photo(tmp_path / "photos" / str(number) / f"{index}.png", 10 * number + index)
    with monkeypatch.context() as patch:
        patch.setattr("featurebank.dataset.folder.in_order", lambda names: tuple(sorted(names)))  # as it was once
        old = extract(load_dataset(tmp_path / "photos"), lite, cache=tmp_path)
    assert old.classes[:3] == ("0", "1", "10")
    (run,) = train_heads(old, [{"kind": "nearest_mean"}])
    new = extract(load_dataset(tmp_path / "photos"), lite, cache=tmp_path)
    assert new.path == old.path
    assert new.classes == tuple(str(number) for number in range(12))
    assert names_of(new) == names_of(old) == [name.split("/")[0] for name in new.ids()]
    assert load_runs(new) == []  # its head counts the classes in the other order
    assert [found.run for found in load_runs(new, stale=True)] == [run.run]
    np.testing.assert_array_equal(new.features(), old.features())


def test_one_class_can_be_extracted_and_not_be_learnt(tmp_path: Path, photo: Any, pixels: Any, lite: Backbone) -> None:
    for index in range(12):
        photo(tmp_path / "photos" / "only" / f"{index}.png", index)
    bank = extract(load_dataset(tmp_path / "photos"), lite, cache=tmp_path)
    for folds in (None, 2):
        with pytest.raises(FeatureBankError, match="two classes or more") as refused:
            train_heads(bank, [{"kind": "nearest_mean"}], folds=folds)
        assert "\n" not in str(refused.value)
