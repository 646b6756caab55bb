"""No group ever stands on two sides, whatever is added, renamed or duplicated."""

from __future__ import annotations

from pathlib import Path

import file_changes
import numpy as np
from file_changes import change
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.grouping.components import component_keys, components, torn_groups
from featurebank.dataset.grouping.rule import GroupRule, with_groups
from featurebank.dataset.sources.paths import Paths
from featurebank.dataset.splits import TEST, TRAIN, UNDECIDED, VAL
from featurebank.system import digest

FRACTIONS = (0.7, 0.15, 0.15)
RULE = GroupRule.parse("path:^(?P<group>[^/]+)/")
Files = dict[str, bytes]

names = st.builds("{}/{}.png".format, st.sampled_from("abcdefgh"), st.integers(0, 5))
contents = st.binary(max_size=1)
photos = st.dictionaries(names, contents, min_size=2, max_size=30).filter(lambda files: len({n[0] for n in files}) > 1)
changes = file_changes.changes(names, contents)


def load(files: Files, given_splits: dict[str, int] | None = None, seed: int = 0) -> Dataset:
    """Makes a dataset of {id: content}, whose groups are the folders; b"" is an image that cannot be read."""
    ids, labels = tuple(files), np.zeros(len(files), np.int32)
    codes = None if given_splits is None else np.array([given_splits.get(name[0], UNDECIDED) for name in ids], np.int8)
    plain = Contents("made", "folder:/made", ("all",), ids, labels, Paths("/made", ids), codes)
    dataset = Dataset(with_groups(plain, RULE, several=False), FRACTIONS, seed)
    dataset.know_digests(
        np.array([digest.of_bytes(content).encode() if content else b"" for content in files.values()])
    )
    return dataset


def sides(dataset: Dataset) -> dict[str, set[int]]:
    """Returns the splits in which each group and each content stands."""
    found: dict[str, set[int]] = {}
    for name, content, split in zip(dataset.ids, dataset.digests.tolist(), dataset.splits.tolist(), strict=True):
        found.setdefault(name[0], set()).add(split)
        if content:
            found.setdefault(content.decode(), set()).add(split)
    return found


def connected(dataset: Dataset) -> list[set[str]]:
    """Returns the ids of each component, by brute force."""
    parts: list[tuple[set[str], set[object]]] = []
    for name, content in zip(dataset.ids, dataset.digests.tolist(), strict=True):
        marks = {name[0], content} - {b""}
        touching = [part for part in parts if part[1] & marks]
        parts = [part for part in parts if part not in touching]
        parts.append(({name}.union(*(part[0] for part in touching)), marks.union(*(part[1] for part in touching))))
    return [ids for ids, _ in parts]


@settings(max_examples=30)
@given(photos, changes, st.integers(0, 99))
def test_no_group_and_no_content_ever_stands_on_two_sides(files: Files, steps: list, seed: int) -> None:
    for state in (files, change(files, steps)):
        if state:
            assert all(len(splits) == 1 for splits in sides(load(state, seed=seed)).values())


@settings(max_examples=30)
@given(photos, changes, st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([TRAIN, VAL, TEST])))
def test_given_splits_stay_and_keep_groups_whole(files: Files, steps: list, given_splits: dict[str, int]) -> None:
    state = change(files, steps) or files
    dataset = load(state, given_splits)
    assert not torn_groups(dataset.groups, dataset.splits)
    present = {given_splits[name[0]] for name in state if name[0] in given_splits}
    for name, split in zip(dataset.ids, dataset.splits.tolist(), strict=True):
        if name[0] in given_splits and (present != {TRAIN, TEST} or given_splits[name[0]] == TEST):
            assert split == given_splits[name[0]]


@settings(max_examples=30)
@given(photos, changes)
def test_what_happens_to_other_components_moves_no_image(files: Files, steps: list) -> None:
    after = load(change(files, steps) or files)
    before = load(files)
    splits = dict(zip(before.ids, before.splits.tolist(), strict=True))
    new = dict(zip(after.ids, after.splits.tolist(), strict=True))
    untouched = [part for part in connected(before) if part in connected(after)]
    for name in set().union(*untouched):
        assert new[name] == splits[name]


@settings(max_examples=30)
@given(photos)
def test_components_are_those_of_the_graph_of_groups_and_contents(files: Files) -> None:
    dataset = load(files)
    assert dataset.components is not None
    found = [{dataset.ids[row] for row in np.flatnonzero(dataset.components == part)} for part in range(len(files))]
    assert [ids for ids in found if ids] == sorted(connected(dataset), key=lambda ids: min(map(dataset.ids.index, ids)))


def test_a_chain_of_copies_joins_many_groups() -> None:
    count = 500
    groups = np.repeat(np.array([f"g{number}" for number in range(count)]), 2)
    digests = np.array([b"%d" % ((number + 1) // 2) for number in range(2 * count)], "S32")
    assert set(components(groups, digests).tolist()) == {0}
    assert len(np.unique(component_keys(groups, components(groups, digests)))) == 1


def test_the_shares_are_those_that_were_asked_for() -> None:
    groups = np.array([f"patient {number}" for number in range(2000)])
    parts = components(groups, np.arange(2000).astype("S32"))
    files = {f"{number:04d}": b"" for number in range(2000)}
    plain = Contents("made", "folder:/made", ("all",), tuple(files), np.zeros(2000, np.int32), Paths("/", tuple(files)))
    dataset = Dataset(with_groups(plain, GroupRule.parse("path:(?P<group>.+)")), FRACTIONS, 3)
    dataset.know_digests(np.arange(2000).astype("S32"))
    assert len(np.unique(parts)) == 2000
    shares = np.bincount(dataset.splits) / 2000
    np.testing.assert_allclose(shares, FRACTIONS, atol=0.03)


def test_an_image_without_a_split_follows_its_group(tmp_path: Path) -> None:
    dataset = load({"a/1.png": b"1", "a/2.png": b"2", "b/1.png": b"3", "c/1.png": b"3"}, {"a": VAL, "b": TEST})
    assert dict(zip(dataset.ids, dataset.splits.tolist(), strict=True)) == {
        "a/1.png": VAL, "a/2.png": VAL, "b/1.png": TEST, "c/1.png": TEST,
    }  # fmt: skip
