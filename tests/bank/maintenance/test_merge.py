"""Banks of one recipe become one, or one line says why they cannot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from listener import Listener

from featurebank.bank.items import Items
from featurebank.bank.maintenance.agreement import Resplit
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import load_manifest
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter
from featurebank.errors import BankDamagedError, ConfigError


@pytest.fixture
def part(tmp_path: Path, rows: SimpleNamespace) -> Any:
    """Makes a bank of some numbers in a cache of its own."""

    def make(
        numbers: range, *, taps: tuple[str, ...] = ("pooled",), recipe: Any = rows.recipe, items: Items | None = None,
        finish: bool = True, dtype: str | None = None, views: int = 0, **record: Any,
    ) -> Path:  # fmt: skip
        dataset = {**rows.dataset, **record}
        path = tmp_path / f"c{len(list(tmp_path.iterdir()))}" / f"{dataset['name']}--net--0"
        with BankWriter(path, recipe, dataset) as to:
            for view in range(views + 1):
                keys = rows.keys(rows.digests(numbers), view)
                block = dict.fromkeys(taps, rows.features(numbers) + view)
                to.append([str(n) for n in numbers], keys, block, dict.fromkeys(taps, dtype))
            if finish:
                to.finish(items or rows.items(numbers), taps, [], None, views=views)
        return path

    return make


def test_parts_of_one_dataset(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    one, two = part(range(6), views=1), part(range(4, 10), views=2)
    bank = merge_banks([one, two], tmp_path / "cache")
    assert bank.path.parent == tmp_path / "cache"
    assert bank.name.startswith("data-net-32px-")
    assert bank.ids() == Bank(one).ids() + Bank(two).ids()[2:]
    for view in (0, 1):
        assert bank.features(view=view).tolist() == (rows.features(range(10)) + view).tolist()
    assert bank.views == 1, "what all have"
    assert bank.labels().tolist() == [n % 2 for n in range(10)]
    assert verify_bank(bank.path).damaged == ()
    assert len(Bank(one)) == len(Bank(two)) == 6, "they stay"
    shard = load_manifest(one).shards[0].file
    assert (one / shard).samefile(bank.path / shard), "no byte is stored twice"
    assert bank.manifest.history[-1]["merged"] == [one.name, two.name]
    again = merge_banks([one, two], tmp_path / "cache")
    assert again.digest == bank.digest


def test_into_the_first_itself(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    target = merge_banks([part(range(3)), part(range(3, 6))], tmp_path / "cache").path
    bank = merge_banks([target, part(range(6, 8))], tmp_path / "cache")
    assert bank.path == target
    assert bank.features().tolist() == rows.features(range(8)).tolist()


def test_different_datasets(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    one = part(range(4), name="birds", spec="folder:/birds", classes=["owl", "tit"])
    two = part(range(10, 14), name="fish", spec="folder:/fish", classes=["cod", "owl"])
    bank = merge_banks([one, two], tmp_path / "cache", name="zoo")
    assert bank.name.startswith("zoo-net-32px-")
    assert bank.classes == ("cod", "owl", "tit")
    shown = dict(zip(bank.ids(), [bank.classes[label] for label in bank.labels()], strict=True))
    assert shown == {
        "birds/a/0.png": "owl", "birds/b/1.png": "tit", "birds/a/2.png": "owl", "birds/b/3.png": "tit",
        "fish/a/10.png": "cod", "fish/b/11.png": "owl", "fish/a/12.png": "cod", "fish/b/13.png": "owl",
    }  # fmt: skip
    assert bank.manifest.dataset["spec"] == "merged:birds+fish"


def test_unfinished_parts_give_their_rows(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    bank = merge_banks([part(range(4)), part(range(4, 8), finish=False)], tmp_path / "cache")
    assert len(bank) == 4
    with BankWriter(bank.path, rows.recipe, rows.dataset) as to:
        assert len(to.stored("pooled")) == 8


def test_common_taps_and_metadata_alone(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    def table(numbers: range, *names: str) -> Items:
        plain = rows.items(numbers)
        column = np.array(numbers)
        return Items(plain.ids, plain.digests, plain.labels, plain.splits, dict.fromkeys(names, column))

    one = part(range(3), taps=("a", "b"), items=table(range(3), "camera", "lens"))
    two = part(range(3, 5), taps=("b", "c"), items=table(range(3, 5), "lens"))
    bank = merge_banks([one, two], tmp_path / "cache")
    assert bank.taps == ("b",)
    assert {name: column.tolist() for name, column in bank.metadata().items()} == {"lens": [0, 1, 2, 3, 4]}


def test_what_cannot_be_merged(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    one = part(range(4))
    table = rows.items(range(4))
    table.labels[2] ^= 1
    cases = {
        "expected two or more": [one, one],
        r"recipes differ \(weights: 'w' and 'v'\)": [one, part(range(4), recipe={**rows.recipe, "weights": "v"})],
        "no tap in common": [one, part(range(4), taps=("map",))],
        "stored as float32 in": [one, part(range(4, 8), dtype="float16")],
        "'a/2.png' has another label": [one, part(range(4), items=table)],
        "these banks has finished": [part(range(2), finish=False), part(range(3), finish=False)],
    }
    for message, paths in cases.items():
        with pytest.raises(ConfigError, match=message) as error:
            merge_banks(paths, tmp_path / "cache")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "cache").exists()


def with_splits(table: Items, splits: list[int], prefix: str = "") -> Items:
    ids = [prefix + name for name in table.ids]
    return Items(ids, table.digests, table.labels, np.array(splits, np.uint8))


def by_first_digit(seed: int) -> Resplit:
    """A split that the content and the seed decide: the last digit of its digest, turned by the seed."""
    return Resplit((0.5, 0.3, 0.2), seed, lambda digests: np.array([(d[-1] + seed) % 3 for d in digests], np.uint8))


@pytest.mark.parametrize("spec", ["folder:/data", "folder:/copy"])
def test_no_image_is_in_train_in_one_bank_and_in_test_in_another(
    part: Any, tmp_path: Path, rows: SimpleNamespace, spec: str
) -> None:
    """Copies of a folder, extracted with other seeds: joined by the content, whatever the ids are."""
    one = part(range(6), items=with_splits(rows.items(range(6)), [0, 0, 1, 2, 0, 1]))
    two = part(range(2, 8), items=with_splits(rows.items(range(2, 8)), [1, 0, 2, 1, 2, 0]), spec=spec, name="copy")
    told = r"2 images are in different splits in different banks \(the first: '.*b/3.png' in test of .*--seed 0"
    with pytest.raises(ConfigError, match=told):
        merge_banks([one, two], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    bank = merge_banks([one, two], tmp_path / "cache", resplit=by_first_digit(1))
    assert len(set(zip(bank.digests().tolist(), bank.splits().tolist(), strict=True))) == 8
    assert (bank.manifest.dataset["seed"], bank.manifest.dataset["fractions"]) == (1, [0.5, 0.3, 0.2])
    assert bank.manifest.history[-1]["resplit"]["moved"] > 0


def test_splits_that_agree_are_kept(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    """One content in two splits of both banks is the dataset's own affair, which `inspect` tells of."""
    same = [0, 1, 2, 0]
    tables = []
    for name in ("x/", "y/"):
        table = with_splits(rows.items(range(4)), same, name)
        twin = table.select(np.array([0]))
        columns = [np.append(getattr(table, c), getattr(twin, c)) for c in ("digests", "labels")]
        tables.append(Items([*table.ids, name + "twin"], *columns, np.append(table.splits, np.uint8(2))))
    one, two = (part(range(4), items=table, name=f"d{n}", spec=f"folder:/{n}") for n, table in enumerate(tables))
    bank = merge_banks([one, two], tmp_path / "cache")
    assert sorted(bank.splits().tolist()) == sorted(["train", "val", "test", "train", "test"] * 2)


def test_doubts_are_told(part: Any, tmp_path: Path, rows: SimpleNamespace) -> None:
    listener = Listener()
    table = rows.items(range(4))
    other = Items(table.ids, table.digests, table.labels ^ 1, table.splits)
    one, two = part(range(4), seed=0), part(range(4), items=other, seed=1, name="copy", spec="folder:/copy")
    merge_banks([one, two], tmp_path / "cache", reporter=listener)
    assert listener.warned == [
        "the banks were split differently ([0.7, 0.15, 0.15] by seed 0; [0.7, 0.15, 0.15] by seed 1): each image keeps "
        "its split; --seed decides all again",
        "4 images are labelled in more than one way (the first: 'data/a/0.png' and 'copy/a/0.png'): only one label can "
        "be correct",
    ]


def test_damage_is_not_spread(part: Any, tmp_path: Path) -> None:
    one, two = part(range(4)), part(range(4, 8))
    shard = two / load_manifest(two).shards[0].file
    data = bytearray(shard.read_bytes())
    data[load_manifest(two).shards[0].taps["pooled"].offset] ^= 1
    shard.write_bytes(data)
    with pytest.raises(BankDamagedError, match=shard.name):
        merge_banks([one, two], tmp_path / "cache")
