"""Labels on their way from folders to banks and heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import extract, leaderboard, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import FeatureBankError
from featurebank.runs.ranking import in_words
from featurebank.runs.run import load_runs


def names_of(bank: Bank) -> list[str]:
    return [bank.classes[label] for label in bank.labels()]


def test_a_bank_of_another_order_of_classes_is_relabelled(
    tmp_path: Path, photo: Any, pixels: Any, lite: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        for index in range(4):
            photo(tmp_path / "photos" / str(number) / f"{index}.png", 10 * number + index)
    with monkeypatch.context() as patch:
        patch.setattr(
            "featurebank.dataset.sources.folder.in_order", lambda names: tuple(sorted(names))
        )  # as it was once
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
        with pytest.raises(FeatureBankError, match="at least two classes") as refused:
            train_heads(bank, [{"kind": "nearest_mean"}], folds=folds)
        assert "\n" not in str(refused.value)


@pytest.fixture
def folded(tmp_path: Path, photo: Any, pixels: Any, lite: Backbone) -> Bank:
    """A bank of folders fold1, fold2 and fold10, each with twelve photos of two classes."""
    for number in range(36):
        fold, kind = ("fold1", "fold2", "fold10")[number % 3], ("ant", "bee")[number // 3 % 2]
        photo(tmp_path / "photos" / fold / kind / f"{number}.png", number)
    return extract(load_dataset(tmp_path / "photos"), lite, cache=tmp_path)


def test_heads_are_judged_on_the_folds_of_the_dataset(folded: Bank) -> None:
    runs = train_heads(folded, [{"kind": "nearest_mean"}], folds="given")
    on_folds = [run for run in runs if run.folds == -3]
    assert len(on_folds) == 3
    assert [run for run in runs if run.folds == 1] == runs[:1]  # the best one, on the bank's own split
    chosen = folded.splits() != "test"
    numbers, labels = folded.metadata()["fold"][chosen], folded.labels()[chosen]
    X = folded.rows("pooled", np.flatnonzero(chosen))
    for run in on_folds:
        inside = numbers == [1, 2, 10][run.fold[0]]  # type: ignore[index]
        assert run.metrics["val"]["images"] == inside.sum()
        centres = [X[~inside & (labels == label)].mean(axis=0) for label in range(2)]
        found = np.argmin([((X[inside] - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
        assert run.metrics["val"]["accuracy"] == pytest.approx((found == labels[inside]).mean())


def test_folds_of_the_dataset_and_drawn_ones_are_never_compared(folded: Bank) -> None:
    own = train_heads(folded, [{"kind": "nearest_mean"}], folds="given")
    drawn = train_heads(folded, [{"kind": "nearest_mean"}], folds=3)
    assert not {run.run for run in own if run.folds != 1} & {run.run for run in drawn if run.folds != 1}
    for number, runs in ((-3, own), (3, drawn)):
        assert {run.run for run in leaderboard(folded, folds=number)} == {
            run.run for run in runs if run.folds == number
        }
        (entry,) = leaderboard(folded, folds=number).entries
        assert entry.complete
    assert [in_words(number) for number in (-3, 1, 3)] == ["the dataset's 3 folds", "the bank's own split", "3 folds"]


def test_runs_on_other_folds_are_of_an_older_state(folded: Bank, tmp_path: Path, lite: Backbone) -> None:
    train_heads(folded, [{"kind": "nearest_mean"}], folds="given")
    one, other = sorted((tmp_path / "photos" / "fold1").rglob("*.png"))[:2]
    for path in (one, other):
        path.rename(tmp_path / "photos" / "fold2" / path.parent.name / path.name)
    moved = extract(load_dataset(tmp_path / "photos"), lite, cache=tmp_path)
    assert [run.folds for run in load_runs(moved)] == [1] * len(load_runs(moved))
    assert [run.folds for run in load_runs(moved, stale=True) if run.folds != 1] == [-3] * 3


def test_without_folds_there_is_one_line(tmp_path: Path, photo: Any, pixels: Any, lite: Backbone) -> None:
    for number in range(12):
        photo(tmp_path / "photos" / ("ant", "bee")[number % 2] / f"{number}.png", number)
    bank = extract(load_dataset(tmp_path / "photos"), lite, cache=tmp_path)
    with pytest.raises(FeatureBankError, match="defines no folds: expected folders fold1, fold2, "):
        train_heads(bank, [{"kind": "nearest_mean"}], folds="given")


def test_a_column_of_a_table_gives_folds(tmp_path: Path, photo: Any, pixels: Any, lite: Backbone) -> None:
    rows = ["path,label,fold"]
    for number in range(24):
        photo(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,{('ant', 'bee')[number % 2]},patient {number // 8}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    bank = extract(load_dataset(tmp_path / "t.csv"), lite, cache=tmp_path)
    assert len([run for run in train_heads(bank, [{"kind": "nearest_mean"}], folds="given") if run.folds == -3]) == 3
    (tmp_path / "t.csv").write_text("\n".join(rows).replace("patient 2", ""))
    bank = extract(load_dataset(tmp_path / "t.csv"), lite, cache=tmp_path)
    with pytest.raises(FeatureBankError, match=r"\d+ images of .* have no fold"):
        train_heads(bank, [{"kind": "nearest_mean"}], folds="given")


def test_classes_of_one_image_each_cannot_be_learnt(tmp_path: Path, photo: Any, pixels: Any, lite: Backbone) -> None:
    rows = ["path,label"]
    for number in range(24):
        photo(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,{1 + 0.37 * number:.2f}")
    (tmp_path / "scores.csv").write_text("\n".join(rows))
    bank = extract(load_dataset(tmp_path / "scores.csv"), lite, cache=tmp_path)
    with pytest.raises(FeatureBankError, match="is of a class that has training images") as refused:
        train_heads(bank, [{"kind": "nearest_mean"}])
    assert "\n" not in str(refused.value)
