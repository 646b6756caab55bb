"""What every kind of dataset has to keep."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.class_names import in_order
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.system import digest

pytestmark = pytest.mark.heavy

FOLDERS = ("", "images", "flowers", "birds/images")
"""Where the images of a kind may lie below `photos`."""


def test_columns(spec: str) -> None:
    dataset = load_dataset(spec)
    n = len(dataset)
    assert n == len(dataset.ids) == len(set(dataset.ids)) > 50
    assert dataset.labels.shape == (n,)
    assert dataset.labels.dtype == np.int32
    assert dataset.classes == in_order(dataset.classes)
    assert set(dataset.labels.tolist()) == set(range(len(dataset.classes)))
    assert dataset.digests.shape == dataset.splits.shape == (n,)
    assert dataset.digests.dtype == np.dtype("S32")
    assert dataset.splits.dtype == np.uint8
    assert all(len(found) == 32 for found in dataset.digests.tolist())
    assert dataset.unreadable == []
    assert dataset.split_names == ("train", "val", "test")


def test_images(spec: str) -> None:
    dataset = load_dataset(spec)
    for index in (0, len(dataset) // 2, len(dataset) - 1):
        image = dataset.image(index)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        if image.flags.writeable:
            image[:] = 0  # a copy: the dataset does not change
        assert dataset.image(index).any()


def test_an_image_comes_with_its_digest(spec: str) -> None:
    """Whether the digests of all images are known before or not."""
    dataset = load_dataset(spec)
    index = len(dataset) // 2
    found = [dataset.image_with_digest(index)]
    dataset.fingerprint()
    found.append(dataset.image_with_digest(index))
    for image, checksum in found:
        assert checksum == bytes(dataset.digests[index])
        np.testing.assert_array_equal(image, dataset.image(index))


def test_digest_is_of_content(spec: str, tmp_path: Path) -> None:
    dataset = load_dataset(spec)
    if spec.startswith("tfds:"):
        pytest.skip("the bytes are known to test_tfds alone")
    for index in (0, len(dataset) - 1):
        places = [tmp_path / "photos" / folder / dataset.ids[index] for folder in FOLDERS]
        file = next((place for place in places if place.is_file()), None)
        expected = digest.of_file(file) if file else digest.of_array(dataset.image(index))
        assert dataset.digests[index] == expected.encode()


def test_loading_twice_gives_the_same(spec: str) -> None:
    first = load_dataset(spec)
    second = load_dataset(first.spec)
    assert (first.name, first.spec, first.classes, first.ids) == (second.name, second.spec, second.classes, second.ids)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.digests, second.digests)
    np.testing.assert_array_equal(first.splits, second.splits)


def test_metadata_are_columns(spec: str) -> None:
    dataset = load_dataset(spec)
    for column in dataset.metadata.values():
        assert column.shape == (len(dataset),)
        assert column.dtype.kind in "ifbU"
    part = load_dataset(spec, limit=20)
    assert set(part.metadata) == set(dataset.metadata)
    assert all(len(column) == 20 for column in part.metadata.values())


def test_a_sample_is_a_part(spec: str) -> None:
    whole, part = load_dataset(spec), load_dataset(spec, limit=20)
    assert len(part) == 20
    row = {name: index for index, name in enumerate(whole.ids)}
    rows = [row[name] for name in part.ids]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(part.labels, whole.labels[rows])
    np.testing.assert_array_equal(part.digests, whole.digests[rows])
    np.testing.assert_array_equal(part.splits, whole.splits[rows])
    np.testing.assert_array_equal(part.image(7), whole.image(rows[7]))


def test_it_can_go_to_another_process(spec: str) -> None:
    dataset = load_dataset(spec)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset)).image(1), dataset.image(1))


def test_splits_follow_the_seed_and_keep_what_is_given(spec: str) -> None:
    first, second = load_dataset(spec, seed=0), load_dataset(spec, seed=1)
    assert set(first.splits.tolist()) == {TRAIN, VAL, TEST}
    assert (first.splits != second.splits).any()
    if first.ids[0].startswith(("train/", "test/")):
        given_test = np.array([name.startswith("test/") for name in first.ids])
        np.testing.assert_array_equal(first.splits == TEST, given_test)
        np.testing.assert_array_equal(second.splits == TEST, given_test)


def test_counts_and_progress(spec: str) -> None:
    dataset = load_dataset(spec)
    seen: list[int] = []
    dataset.fingerprint(seen.append)
    assert sum(seen) == len(dataset)
    counts = dataset.counts()
    assert list(counts) == ["train", "val", "test"]
    assert all(tuple(row) == dataset.classes for row in counts.values())
    assert sum(sum(row.values()) for row in counts.values()) == len(dataset)
    label = int(dataset.labels[0])
    expected = int(((dataset.splits == TRAIN) & (dataset.labels == label)).sum())
    assert counts["train"][dataset.classes[label]] == expected


def test_two_fractions_mean_no_test_beyond_the_given(spec: str) -> None:
    dataset = load_dataset(spec, split=(0.8, 0.2))
    assert dataset.fractions == (0.8, 0.2, 0.0)
    given = sum(name.startswith("test/") for name in dataset.ids)
    assert int((dataset.splits == TEST).sum()) == given
