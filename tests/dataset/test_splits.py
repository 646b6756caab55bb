"""Nothing but an image's own content decides its split."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import file_changes
import numpy as np
import pytest
from file_changes import change
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank import load_dataset
from featurebank.dataset.splits import SPLITS, TEST, TRAIN, VAL, assign, check_fractions, uniform
from featurebank.errors import ConfigError
from featurebank.system import digest

DEFAULT = (0.7, 0.15, 0.15)
contents = st.lists(st.binary(max_size=4), min_size=1, max_size=60)
seeds = st.integers(-(2**70), 2**70)


def digests_of(items: list[bytes]) -> np.ndarray:
    return np.array([digest.of_bytes(item).encode() for item in items], "S32")


def split_of(items: list[bytes], seed: int) -> dict[bytes, int]:
    codes = assign(digests_of(items), None, DEFAULT, seed)
    table: dict[bytes, int] = {}
    for item, code in zip(items, codes.tolist(), strict=True):
        assert table.setdefault(item, code) == code, "duplicates share a split"
    return table


@given(contents, contents, seeds, st.randoms(use_true_random=False))
def test_adding_removing_duplicating_and_reordering_moves_no_image(
    items: list[bytes], more: list[bytes], seed: int, random: object
) -> None:
    before = split_of(items, seed)
    mixed = [*items, *more, *items[::2]]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    after = split_of(mixed, seed)
    assert {item: after[item] for item in before} == before
    fewer = split_of(items[1:] or items, seed)
    assert all(before[item] == code for item, code in fewer.items())


names = st.builds("{}/{}.png".format, st.sampled_from(["ant", "bee", "cat/deep"]), st.integers(0, 9))
changes = file_changes.changes(names, st.binary(max_size=4))


def loaded_splits(root: Path, files: dict[str, bytes], prefixes: list[str], seed: int) -> dict[tuple[str, bytes], int]:
    """Writes files into a folder that has nothing else, and loads it: {(given split, content): code}."""
    shutil.rmtree(root, ignore_errors=True)
    always = {f"{prefix}{name}/always.png": b"always" for prefix in prefixes for name in ("ant", "bee")}
    everything = {**always, **{f"{prefix}{name}": content for prefix in prefixes for name, content in files.items()}}
    for name, content in everything.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    dataset = load_dataset(root, seed=seed)
    assert set(dataset.ids) == set(everything)
    table: dict[tuple[str, bytes], int] = {}
    for name, code in zip(dataset.ids, dataset.splits.tolist(), strict=True):
        key = (name.partition("/")[0] if prefixes != [""] else "", everything[name])
        assert table.setdefault(key, code) == code, "duplicates share a split"
    return table


@pytest.mark.parametrize("prefixes", [[""], ["train/", "test/"], ["train/", "val/", "test/"]])
@given(st.dictionaries(names, st.binary(max_size=4), max_size=12), changes, seeds)
@settings(max_examples=40)
def test_changes_in_a_folder_move_no_other_image(
    prefixes: list[str], files: dict[str, bytes], steps: list[tuple[str, str, str | bytes]], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        before = loaded_splits(Path(place, "photos"), files, prefixes, seed)
        after = loaded_splits(Path(place, "photos"), change(files, steps), prefixes, seed)
    assert {key: after[key] for key in before if key in after} == {key: before[key] for key in before if key in after}
    if prefixes == ["train/", "val/", "test/"]:
        assert all(SPLITS[code] == given for (given, _), code in after.items())


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda parts: parts[0] > 0.01),
    seeds,
)
@settings(max_examples=25)
def test_fractions_are_kept_about(parts: list[float], seed: int) -> None:
    fractions = check_fractions([part / sum(parts) for part in parts])
    digests = digests_of([str(number).encode() for number in range(3000)])
    codes = assign(digests, None, fractions, seed)
    shares = np.bincount(codes, minlength=3) / len(codes)
    np.testing.assert_allclose(shares, fractions, atol=0.06)
    assert all(share == 0 for share, part in zip(shares, fractions, strict=True) if part == 0)


def test_numbers_never_change() -> None:
    # Written down once: were they to change, every split of every user would.
    found = uniform(np.array([b"0" * 32, b"f" * 32], "S32"), 0)
    np.testing.assert_array_equal(found, [0.7377648440844611, 0.7213579364079671])


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = digests_of([str(number).encode() for number in range(50)])
    whole = uniform(digests, 3)
    monkeypatch.setattr("featurebank.dataset.splits._BLOCK", 7)
    np.testing.assert_array_equal(uniform(digests, 3), whole)
    assert whole.min() >= 0
    assert whole.max() < 1
    assert len(set(whole.tolist())) == 50


def given_codes(*codes: int) -> tuple[np.ndarray, np.ndarray]:
    column = np.repeat(np.array(codes, np.int8), 2000)
    return digests_of([str(number).encode() for number in range(len(column))]), column


def test_validation_is_carved_out_of_train_only() -> None:
    digests, column = given_codes(TRAIN, TEST)
    codes = assign(digests, column, (0.6, 0.2, 0.2), 0)
    assert (codes[column == TEST] == TEST).all()
    assert set(codes[column == TRAIN].tolist()) == {TRAIN, VAL}
    assert (codes[column == TRAIN] == VAL).mean() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("present", [(TRAIN, VAL), (TRAIN, VAL, TEST), (TRAIN,), (VAL, TEST)])
def test_other_given_splits_stay_as_they_are(present: tuple[int, ...]) -> None:
    digests, column = given_codes(*present)
    np.testing.assert_array_equal(assign(digests, column, DEFAULT, 0), column)


def test_undecided_images_among_given_ones_go_by_content() -> None:
    digests, column = given_codes(TRAIN, -1, VAL, TEST)
    codes = assign(digests, column, DEFAULT, 5)
    open_ = column == -1
    np.testing.assert_array_equal(codes[open_], assign(digests[open_], None, DEFAULT, 5))
    np.testing.assert_array_equal(codes[~open_], column[~open_])


def test_the_same_content_given_to_two_splits_stays_in_both() -> None:
    digests = np.repeat(digests_of([b"same"]), 3)
    column = np.array([TRAIN, VAL, TEST], np.int8)
    np.testing.assert_array_equal(assign(digests, column, DEFAULT, 0), column)


def test_no_image_gives_no_code() -> None:
    assert assign(digests_of([]), None, DEFAULT, 0).shape == (0,)


@pytest.mark.parametrize(
    ("split", "part"),
    [
        ((0.5, 0.2, 0.2), "they sum to 0.9, expected 1"),
        ((0.5, 0.6, -0.1), "no fraction below 0"),
        ((0, 0.5, 0.5), "some images for training"),
        ((1.0,), "two or three numbers"),
        ((0.25, 0.25, 0.25, 0.25), "two or three numbers"),
        (("a", "b"), "two or three numbers"),
        (0.7, "two or three numbers"),
        ("10", "two or three numbers"),
        ((float("nan"), 0.5, 0.5), "no fraction below 0"),
    ],
)
def test_wrong_fractions(split: object, part: str) -> None:
    with pytest.raises(ConfigError, match="split is") as caught:
        check_fractions(split)  # type: ignore[arg-type]
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_right_fractions() -> None:
    assert check_fractions(None) == DEFAULT
    assert check_fractions((1, 0)) == (1.0, 0.0, 0.0)
    assert sum(check_fractions((0.7, 0.15, 0.1500005))) == pytest.approx(1, abs=1e-12)
