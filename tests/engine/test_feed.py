"""Images come resized, in order, in batches; bad ones are named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.backbone import Backbone
from featurebank.dataset import Dataset
from featurebank.engine.feed import Bad, Batch, Prepared, feed


def clean(dataset: Dataset, backbone: Backbone) -> Callable[[int], Prepared[str]]:
    """One lane, which takes every image as it is."""
    return lambda index: [("lane", 0, backbone.resize(dataset.image(index)))]


@pytest.mark.parametrize("batch_size", [1, 5, 24, 100])
def test_order_and_content(photos: Path, lite: Backbone, batch_size: int) -> None:
    dataset = load_dataset(str(photos))
    wanted = [3, 0, 23, 7, *range(8, 20)]
    batches = [found for found in feed(clean(dataset, lite), wanted, batch_size) if isinstance(found, Batch)]
    assert np.concatenate([batch.indices for batch in batches]).tolist() == wanted
    assert [len(batch.indices) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    images = np.concatenate([batch.images for batch in batches])
    assert images.dtype == np.uint8
    for index, image in zip(wanted, images, strict=True):
        assert np.array_equal(image, lite.resize(dataset.image(index)))


def test_bad_images_are_named_and_the_rest_comes(photos: Path, lite: Backbone) -> None:
    names = ["ant/0.jpg", "bee/1.png", "bee/23.png"]
    for name in names:
        (photos / name).write_bytes((photos / name).read_bytes()[:60])
    dataset = load_dataset(str(photos))
    found = list(feed(clean(dataset, lite), range(24), 4))
    bad = [entry for entry in found if isinstance(entry, Bad)]
    assert sorted(dataset.ids[entry.index] for entry in bad) == names
    assert all(entry.reason and "\n" not in entry.reason for entry in bad)
    assert len(np.concatenate([batch.indices for batch in found if isinstance(batch, Batch)])) == 21


def test_lanes_fill_each_for_itself(photos: Path, lite: Backbone) -> None:
    """One image decoded once goes to several engines, in several views; each batch is of one lane."""
    dataset = load_dataset(str(photos))
    decoded: list[int] = []

    def prepare(index: int) -> Prepared[str]:
        image = lite.resize(dataset.image(index))
        decoded.append(index)
        both = [("all", 0, image), ("all", 1, image[::-1])]
        return [*both, ("even", 0, image)] if index % 2 == 0 else both

    batches = [found for found in feed(prepare, range(24), 5) if isinstance(found, Batch)]
    assert sorted(decoded) == list(range(24))
    for lane, expected in (
        ("all", [(i, v) for i in range(24) for v in (0, 1)]),
        ("even", [(i, 0) for i in range(0, 24, 2)]),
    ):
        mine = [batch for batch in batches if batch.lane == lane]
        assert [len(batch.indices) for batch in mine[:-1]] == [5] * (len(mine) - 1)
        rows = [row for batch in mine for row in zip(batch.indices.tolist(), batch.views.tolist(), strict=True)]
        assert rows == expected


def test_bad_images_alone(photos: Path, lite: Backbone) -> None:
    (photos / "ant/0.jpg").write_bytes(b"")
    dataset = load_dataset(str(photos))
    index = dataset.ids.index("ant/0.jpg")
    assert list(feed(clean(dataset, lite), [index], 4)) == [Bad(index, "empty file")]


def test_no_images(photos: Path, lite: Backbone) -> None:
    assert list(feed(clean(load_dataset(str(photos)), lite), [], 4)) == []


def test_no_thread_outlives_a_feed_that_is_left_early(photos: Path, lite: Backbone) -> None:
    batches = feed(clean(load_dataset(str(photos)), lite), range(24), 2)
    next(batches)
    batches.close()
    for thread in [t for t in threading.enumerate() if t.name.startswith("featurebank-decode")]:
        thread.join(20)  # it ends the image that it is at, and takes no other
        assert not thread.is_alive()


def test_reads_only_a_little_ahead(photos: Path, lite: Backbone) -> None:
    asked: list[int] = []

    def indices() -> object:
        for index in [number % 24 for number in range(1000)]:
            asked.append(index)
            yield index

    batches = feed(clean(load_dataset(str(photos)), lite), indices(), 2)  # type: ignore[arg-type]
    next(batches)
    assert len(asked) < 400
    batches.close()
