"""Two machines write and read one bank in turn, while the lists that they have just read are a moment old."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from buckets import Machine

from featurebank.bank.contents import read_contents
from featurebank.bank.items import Items
from featurebank.bank.manifest import Manifest, load_manifest, load_tables
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.storage import known_objects
from featurebank.storage.caches import cache_directory
from featurebank.storage.objects import Objects, StoredObject
from featurebank.system.backing.directories import find

RECIPE = {"backbone": "net"}
DATASET = {"name": "made", "classes": ["a", "b"]}


@pytest.fixture(autouse=True)
def lists_stay_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the test happens in the moment for which a list counts."""
    monkeypatch.setattr(known_objects, "LISTED_S", 300.0)


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "other")


def add(bank: Path, *numbers: int, label: int = 0) -> tuple[str, ...]:
    """Adds rows in a shard of their own, as a whole command does; returns what it found to be lost."""
    digests = np.array([f"{number:032x}" for number in numbers], "S32")
    names = [str(number) for number in numbers]
    with BankWriter(bank, RECIPE, DATASET) as writer:
        values = np.repeat(np.array(numbers, np.float32)[:, None], 4, 1)
        writer.append(names, row_keys(digests), {"pooled": values}, {"pooled": "float32"})
        writer.flush()
        labels = np.full(len(names), label, np.int32)
        writer.finish(Items(names, digests, labels, np.zeros(len(names), np.uint8)), ("pooled",), (), None)
        return writer.lost


def look_for_bank(root: Path) -> None:
    find(root, "*/runs/*.json")  # lists all


def read_bank(root: Path) -> None:
    find(root, "*/manifest.json")
    load_tables(root / "bank")


@pytest.mark.parametrize("look", [look_for_bank, read_bank])
def test_a_writer_keeps_what_another_machine_has_just_listed(
    bucket: str, machine: Machine, other: Machine, look: Callable[[Path], None]
) -> None:
    root = cache_directory(bucket)
    add(root / "bank", 1)
    with other.used():
        there = cache_directory(bucket)
        look(there)
    add(root / "bank", 2)
    with other.used():
        assert add(there / "bank", 3) == ()
        assert sum(shard.rows for shard in load_manifest(there / "bank").shards) == 3


@pytest.mark.parametrize("look", [look_for_bank, read_bank])
def test_a_reader_sees_a_whole_bank_beside_a_writer(
    bucket: str, machine: Machine, other: Machine, look: Callable[[Path], None]
) -> None:
    root = cache_directory(bucket)
    add(root / "bank", 1)
    with other.used():
        there = cache_directory(bucket)
        look(there)
        (there / "bank").mkdir(exist_ok=True)
        for path in [*(there / "bank").glob("items*"), *(there / "bank").glob("shard*")]:
            path.unlink()  # evicted, or never fetched
    for number in (2, 3, 4):
        add(root / "bank", number, label=1)
    with other.used():
        assert read_contents(there / "bank", Manifest(recipe=RECIPE, dataset=DATASET)).lost == ()
        manifest, items = load_tables(there / "bank")
        assert (len(manifest.shards), items.ids[0], int(items.labels[0])) == (4, "4", 1)


def test_a_writer_finds_shards_that_no_list_shows_yet(
    bucket: str, machine: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cache_directory(bucket)
    add(root / "bank", 1)
    whole = Objects.list

    def lagging(self: Objects, prefix: str = "") -> dict[str, StoredObject]:
        return {key: value for key, value in whole(self, prefix).items() if "shard-" not in key}

    monkeypatch.setattr(Objects, "list", lagging)
    with other.used():
        assert add(cache_directory(bucket) / "bank", 2) == ()
