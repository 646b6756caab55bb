"""Near duplicates: what looking at every pair gives, in blocks of any size, by the ids and splits of the dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featurebank import extract, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError
from featurebank.inspection import near_duplicates as near
from featurebank.inspection.near_duplicates import bank_of, near_duplicates, near_pairs
from featurebank.inspection.survey import count, survey

pytestmark = pytest.mark.heavy


def by_hand(
    features: np.ndarray, groups: np.ndarray, contents: np.ndarray, threshold: float
) -> list[tuple[int, int, float]]:
    """Every pair, the most similar first."""
    norms = np.linalg.norm(features, axis=1)
    found = []
    for a in range(len(features)):
        for b in range(len(features)):
            if groups[a] < groups[b] and contents[a] != contents[b] and norms[a] and norms[b]:
                cosine = float(features[a] @ features[b] / (norms[a] * norms[b]))
                if cosine > threshold:
                    found.append((a, b, cosine))
    return sorted(found, key=lambda pair: -pair[2])


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 7), st.integers(1, 7), st.integers(1, 50))
def test_blocks_find_what_looking_at_every_pair_finds(seed: int, n: int, rows: int, columns: int, keep: int) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 3)).astype(np.float32)
    features[random.random(n) < 0.1] = 0
    groups, contents = random.integers(0, 3, n).astype(np.uint8), random.integers(0, max(1, n // 2), n)
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "_ROWS", rows)
        patch.setattr(near, "_COLUMNS", columns)
        found = near_pairs(features, groups, contents, threshold=0.5, keep=keep, progress=seen.append)
    expected = by_hand(features, groups, contents, 0.5)
    assert sum(seen) == n
    assert found.total == len(expected)
    assert len(found.cosines) == min(keep, len(expected))
    np.testing.assert_allclose(found.cosines, [cosine for _, _, cosine in expected[:keep]], atol=1e-5)
    assert {(a, b) for a, b, _ in expected} >= set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def test_of_equally_similar_pairs_those_with_the_smaller_rows_are_kept() -> None:
    features = np.ones((6, 4), np.float32)
    groups = np.array([1, 0, 1, 0, 1, 0])
    found = near_pairs(features, groups, np.arange(6), threshold=0.9, keep=4)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(1, 0), (1, 2), (1, 4), (3, 0)]
    assert found.total == 9
    assert (found.cosines <= 1).all()


def test_where_everything_looks_alike_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """65,536 images would make 2.1 billion pairs, of which nobody learns anything."""
    monkeypatch.setattr(near, "_ROWS", 10)
    monkeypatch.setattr(near, "_COLUMNS", 10)
    seen: list[int] = []
    features, groups = np.ones((400, 4), np.float32), np.arange(400) % 2
    found = near_pairs(features, groups, np.arange(400), threshold=0.9, keep=4, most=250, progress=seen.append)
    assert (found.total, found.capped, len(found.first)) == (250, True, 4)
    assert sum(seen) < 400
    whole = near_pairs(features, groups, np.arange(400), threshold=0.9, keep=4)
    assert (whole.total, whole.capped) == (200 * 200, False)


def test_lengths_do_not_matter_not_even_extreme_ones() -> None:
    features = np.array([[1e30, 1e30], [1e-30, 1e-30], [1, -1]], np.float32)
    found = near_pairs(features, np.array([0, 1, 2]), np.arange(3), threshold=0.98, keep=9)
    assert (found.first.tolist(), found.second.tolist(), found.total) == ([0], [1], 1)
    assert found.cosines[0] == pytest.approx(1)


@pytest.mark.parametrize("groups", [[], [1], [2, 2, 2]])
def test_nothing_to_compare(groups: list[int]) -> None:
    n = len(groups)
    found = near_pairs(np.ones((n, 3), np.float32), np.array(groups, int), np.arange(n), threshold=0.5, keep=9)
    assert (found.total, len(found.first)) == (0, 0)


# ---- in a bank


def usable(dataset: Dataset) -> np.ndarray:
    return survey(dataset).usable


def test_near_duplicates_across_splits_are_found_and_exact_ones_left_out(leaky: Path, leaky_bank: Bank) -> None:
    dataset = load_dataset(str(leaky), split=(0.8, 0.2))
    found = near_duplicates(dataset, usable(dataset), leaky_bank, threshold=0.99999)
    assert [(pair.a.id, pair.b.id) for pair in found.pairs] == [("train/ant/near.png", "test/ant/nearly.png")]
    pair = found.pairs[0]
    assert (pair.b.split, pair.a.label, pair.b.label) == ("test", "ant", "ant")
    assert pair.cosine == pytest.approx(1)
    assert (found.total, found.compared, found.tap, found.bank) == (1, 19, "pooled", str(leaky_bank.path))


def test_the_splits_are_those_of_the_dataset(leaky: Path, leaky_bank: Bank) -> None:
    """The bank was extracted when test was given; without the given folders, the pair may stand in one split."""
    dataset = load_dataset(str(leaky), split=(0.8, 0.2))
    bank = leaky_bank
    for _ in range(2):
        found = near_duplicates(dataset, usable(dataset), bank, threshold=1e-9)
        assert all(pair.a.split != pair.b.split for pair in found.pairs)
        per_split = {split: sum(row.values()) for split, row in count(dataset, usable(dataset)).items()}
        a, b, c = per_split.values()
        assert found.total == a * b + a * c + b * c - 1  # the one exact pair
        dataset = load_dataset(str(leaky), split=(0.4, 0.6), seed=3)


def test_images_that_went_are_left_out(leaky: Path, leaky_bank: Bank) -> None:
    (leaky / "test" / "ant" / "nearly.png").unlink()
    dataset = load_dataset(str(leaky), split=(0.8, 0.2))
    found = near_duplicates(dataset, usable(dataset), leaky_bank, threshold=0.99999)
    assert (found.total, found.compared) == (0, 18)


def test_a_bank_of_other_images_is_refused(leaky: Path, make_bank: Callable[..., Bank]) -> None:
    dataset = load_dataset(str(leaky))
    with pytest.raises(ConfigError, match="has none of the images of"):
        near_duplicates(dataset, usable(dataset), make_bank())


def test_a_bank_of_maps_alone_is_refused(leaky: Path, make_bank: Callable[..., Bank]) -> None:
    dataset = load_dataset(str(leaky))
    with pytest.raises(ConfigError, match="--tap pooled"):
        near_duplicates(dataset, usable(dataset), make_bank(taps=("map",)))


def test_images_are_known_by_their_content(leaky: Path, leaky_bank: Bank) -> None:
    """A folder that was moved is the same images; a file that has changed since is not the one that was extracted."""
    moved = leaky.rename(leaky.with_name("moved"))
    dataset = load_dataset(str(moved), split=(0.8, 0.2))
    before = near_duplicates(dataset, usable(dataset), leaky_bank, threshold=0.99999)
    assert before.total == 1
    changed = moved / before.pairs[0].a.id
    Image.fromarray(np.full((40, 40, 3), 77, np.uint8)).save(changed)
    dataset = load_dataset(str(moved), split=(0.8, 0.2))
    after = near_duplicates(dataset, usable(dataset), leaky_bank, threshold=0.99999)
    assert (after.total, after.compared) == (0, before.compared - 1)


def test_the_bank_of_a_dataset_is_the_last_used_with_a_vector(
    leaky: Path, leaky_bank: Bank, photos: Path, lite: Backbone, tmp_path: Path
) -> None:
    dataset = load_dataset(str(leaky))
    assert bank_of(tmp_path / "nowhere", dataset) is None
    found = bank_of(tmp_path / "cache", dataset)
    assert found is not None
    assert found.path == leaky_bank.path
    extract(load_dataset(str(photos)), lite, cache=tmp_path / "cache")  # used later, but of another dataset
    again = bank_of(tmp_path / "cache", dataset)
    assert again is not None
    assert again.path == leaky_bank.path
    assert bank_of(tmp_path / "cache", load_dataset("digits")) is None
