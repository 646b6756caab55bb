"""Columns of a bank's table that have a role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import Bank, extract, load_dataset
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter
from featurebank.errors import BankDamagedError
from featurebank.extraction.source_images import source_dataset


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Writes a table of images with these weights, and returns its path."""
    random = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")

    def written(weights: list[float] | None, name: str = "weight") -> str:
        rows = [f"{n}.png,{'xy'[n % 2]},{'train' if n < 4 else 'val'}" for n in range(6)]
        header = "path,label,split"
        if weights is not None:
            header, rows = f"{header},{name}", [f"{row},{weights[n]}" for n, row in enumerate(rows)]
        (tmp_path / "t.csv").write_text("\n".join([header, *rows]))
        return str(tmp_path / "t.csv")

    return written


def test_a_bank_has_the_weights(table: Any, tmp_path: Path, lite: Any, pixels: Any) -> None:
    weights = [1.0, 2.0, 0.0, 0.5, 1.0, 1.0]
    bank = extract(load_dataset(table(weights, "w"), columns={"weight": "w"}), lite, cache=tmp_path / "cache")
    by_id = dict(zip(bank.ids(), bank.sample_weights().tolist(), strict=True))
    assert by_id == {f"{n}.png": weight for n, weight in enumerate(weights)}
    assert sorted(bank.sample_weights("train")) == [0, 0.5, 1, 2]
    assert bank.weight_line() == (
        "training images are weighted by the column 'w', from 0.5 to 2; 1 image of weight 0 is left out"
    )


def test_only_weights_change_the_digest(table: Any, tmp_path: Path, lite: Any, pixels: Any) -> None:
    """Runs belong to the weights that they were trained with; the table is written again, and no row is computed."""
    found = []
    for weights in (None, [1.0] * 6, [1.0, 2.0, 1.0, 1.0, 1.0, 1.0], None):
        bank = extract(load_dataset(table(weights)), lite, cache=tmp_path / "cache")
        found.append((bank.digest, bank.former_digest, bank.sample_weights() is None))
    assert found[0] == found[3]
    assert len({digest for digest, _, _ in found}) == 3
    assert len({digest for _, digest, _ in found}) == 3
    assert [plain for *_, plain in found] == [True, False, False, True]
    assert bank.path == Bank(bank.path).path
    assert sum("added" in event for event in bank.manifest.history) == 1


def test_a_column_without_the_role_is_metadata(tmp_path: Path) -> None:
    assert saved(tmp_path / "old", np.array([1.0, 2.0]), {}).sample_weights() is None
    assert saved(tmp_path / "new", np.array([1.0, 2.0]), {"weight": "w"}).sample_weights("train").tolist() == [1, 2]
    with pytest.raises(BankDamagedError):
        saved(tmp_path / "text", np.array(["a", "b"]), {"weight": "w"}).sample_weights()
    with pytest.raises(BankDamagedError):
        saved(tmp_path / "minus", np.array([1.0, -2.0]), {"weight": "w"}).sample_weights()


def saved(path: Path, column: np.ndarray, role: dict[str, str]) -> Bank:
    """A bank of two training images without rows."""
    digests = np.array([b"0" * 32, b"1" * 32])
    items = Items(["a", "b"], digests, np.array([0, 1], np.int32), np.zeros(2, np.uint8), {"weight": column})
    record = {"name": "made", "classes": ["x", "y"], **role}
    with BankWriter(path, {"backbone": "none"}, record) as writer:
        writer.finish(items, (), (), None)
    return Bank(path)


def grouped(
    path: Path, rows: Any, names: list[str], *, digests: np.ndarray | None = None, rule: str | None = "patient"
) -> Bank:
    """Makes a bank whose images have groups, if there is a rule."""
    plain = rows.items(range(len(names)))
    own = rows.digests(range(len(names))) if digests is None else digests
    items, record = Items(plain.ids, own, plain.labels, plain.splits, {"group": np.array(names)}), {"groups": rule}
    with BankWriter(path, rows.recipe, {**rows.dataset, **(record if rule else {})}) as to:
        to.append(plain.ids, rows.keys(own), {"pooled": rows.features(range(len(names)))}, {"pooled": None})
        to.finish(items, ["pooled"], [], None)
    return Bank(path)


def test_groups_that_share_a_content_are_one(tmp_path: Path, rows: Any) -> None:
    contents = rows.digests([0, 1, 1, 2, 3, 4])
    opened = grouped(tmp_path / "b", rows, ["p", "p", "q", "r", "s", "s"], digests=contents)
    groups = opened.groups()
    assert groups is not None
    names = dict(zip(opened.metadata()["group"].tolist(), groups.tolist(), strict=True))
    assert names["p"] == names["q"]
    assert len({names["p"], names["r"], names["s"]}) == 3
    for split in ("train", "val", "test"):
        part = opened.groups(split)
        assert part is not None
        assert part.tolist() == groups[opened.splits() == split].tolist()


def test_a_column_called_group_has_no_role_by_itself(tmp_path: Path, rows: Any, make: Any) -> None:
    without = grouped(tmp_path / "a", rows, list("aabbcc"), rule=None)
    assert without.groups() is None
    assert without.digest == Bank(make(count=6, shards=1)).digest, "no run of today becomes another"


def test_only_other_groups_make_another_bank(tmp_path: Path, rows: Any) -> None:
    one = grouped(tmp_path / "a", rows, list("aabbcc"))
    same = grouped(tmp_path / "b", rows, list("xxyyzz"), rule="other")
    other = grouped(tmp_path / "c", rows, list("aabbbb"))
    plain = grouped(tmp_path / "d", rows, list("aabbcc"), rule=None)
    assert one.digest == same.digest, "the names of groups mean nothing to heads"
    assert len({one.digest, other.digest, plain.digest}) == 3
    assert len({one.former_digest, other.former_digest, plain.former_digest}) == 3


@pytest.mark.usefixtures("pixels")
def test_extraction_stores_groups_and_follows_their_changes(photos: Path, lite: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    rule = r"path:/(?P<group>\d)\d*\."
    plain = extract(photos, lite, cache=cache)
    assert plain.groups() is None
    first = extract(load_dataset(photos, groups=rule), lite, cache=cache)
    assert first.path == plain.path
    assert first.manifest.dataset["groups"] == rule
    groups = first.groups()
    assert groups is not None
    sides = {(group, split) for group, split in zip(groups.tolist(), first.splits().tolist(), strict=True)}
    assert len(sides) == len(set(groups.tolist()))
    again = source_dataset(first)
    assert again.splits.tolist() == load_dataset(photos, groups=rule).splits.tolist()
    assert extract(again, lite, cache=cache).digest == first.digest != plain.digest
    back = extract(photos, lite, cache=cache)
    assert (back.digest, back.groups()) == (plain.digest, None)
