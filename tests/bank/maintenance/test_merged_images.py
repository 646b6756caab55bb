"""Merging is a union of images: idempotent, commutative and associative, whatever the banks hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.bank.items import Items
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.maintenance.merged_images import join
from featurebank.bank.writer import BankWriter
from featurebank.errors import ConfigError

Files = Sequence[tuple[int, str]]
"""The number of each content, and the name of its file: a content may have two names."""
ONE = st.tuples(st.integers(0, 3), st.sampled_from(["x.png", "copy/x.png"]))
OF_ONE_DATASET = st.lists(ONE.map(lambda file: (file[0], f"{file[0]}-{file[1]}")), unique=True)
OF_TWO_DATASETS = st.lists(
    st.tuples(ONE, st.sampled_from(["ants", "bees"])).map(lambda at: (at[0][0], f"{at[1]}/{at[0][0]}-{at[0][1]}")),
    unique=True,
)


def table(files: Files, **metadata: Any) -> Items:
    """Images whose content decides label and split."""
    codes = np.array([number for number, _ in files], np.int64)
    digests = np.array([f"{number:032x}".encode() for number, _ in files], "S32")
    labels, splits = (codes % 2).astype(np.int32), (codes % 3 == 0).astype(np.uint8)
    return Items([name for _, name in files], digests, labels, splits, metadata)


def in_order(items: Items) -> list[Any]:
    columns = (items.ids, items.digests.tolist(), items.labels.tolist(), items.splits.tolist())
    return sorted(zip(*columns, strict=True))


@pytest.mark.parametrize(("banks", "prefixed"), [(OF_ONE_DATASET, False), (OF_TWO_DATASETS, True)])
def test_joining_is_a_union(banks: st.SearchStrategy[Files], prefixed: bool) -> None:
    def joined(*tables: Items) -> Items:
        return join(tables, (), prefixed=prefixed)

    @settings(max_examples=15)
    @given(st.tuples(banks, banks, banks))
    def check(lists: tuple[Files, Files, Files]) -> None:
        one, two, three = (joined(table(files)) for files in lists)
        both, everything = joined(one, two), in_order(joined(one, two, three))
        assert in_order(joined(one, one)) == in_order(one)
        assert in_order(joined(both, one)) == in_order(joined(two, one)) == in_order(both)
        assert in_order(joined(both, three)) == in_order(joined(one, joined(two, three))) == everything
        files = {(number, name.partition("/")[2] if prefixed else name) for files in lists for number, name in files}
        assert len(everything) == len(files), "each file once, and each copy under another name"

    check()


def save(folder: Path, rows: SimpleNamespace, name: str, files: Files, **metadata: Any) -> Path:
    """A bank of a dataset; several datasets may hold the same files."""
    items, numbers = table(files, **metadata), [number for number, _ in files]
    path = folder / f"{len(list(folder.iterdir()))}" / f"{name}-net-0"
    record = {**rows.dataset, "name": name, "spec": f"folder:/{name}", **({"groups": "path"} if metadata else {})}
    with BankWriter(path, rows.recipe, record) as to:
        to.append(items.ids, rows.keys(items.digests), {"pooled": rows.features(numbers)}, {"pooled": None})
        to.finish(items, ["pooled"], [], None)
    return path


def test_neither_the_order_of_the_banks_nor_merging_in_steps_matters(tmp_path: Path, rows: SimpleNamespace) -> None:
    one = save(tmp_path, rows, "ants", [(1, "1.png"), (2, "copy/2.png")])
    two = save(tmp_path, rows, "bees", [(1, "1.png"), (1, "copy/1.png"), (3, "3.png")])
    both = merge_banks([two, one], tmp_path / "both")
    again = merge_banks([both.path, one, save(tmp_path, rows, "cats", [(4, "4.png")])], tmp_path / "again")
    assert sorted(both.ids()) == ["ants/1.png", "ants/copy/2.png", "bees/3.png", "bees/copy/1.png"]
    assert sorted(again.ids()) == [*sorted(both.ids()), "cats/4.png"]
    assert again.features().tolist() == rows.features([int(digest, 16) for digest in again.digests()]).tolist()
    assert (both.name, both.manifest.dataset["spec"]) == (again.name, "merged:ants+bees")
    assert again.manifest.dataset["spec"] == "merged:ants+bees+cats"


def test_copies_with_another_group_are_not_one_image(tmp_path: Path, rows: SimpleNamespace) -> None:
    files = [(1, "1.png"), (4, "4.png")]
    one = save(tmp_path, rows, "ants", files, group=np.array(["p1", "p1"]))
    two = save(tmp_path, rows, "bees", files, group=np.array(["p1", "p2"]))
    bank = merge_banks([one, two], tmp_path / "cache")
    assert sorted(bank.ids()) == ["ants/1.png", "ants/4.png", "bees/4.png"]
    assert set(bank.groups().tolist()) == {0}, "the copy joins the groups"
    other = save(tmp_path, rows, "ants", files, group=np.array(["p1", "p2"]))
    for parts in ([one, other], [bank.path, other]):
        with pytest.raises(ConfigError, match=r"'(ants/)?4.png' has another group in one bank than in another"):
            merge_banks(parts, tmp_path / "more")
