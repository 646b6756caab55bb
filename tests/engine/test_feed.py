"""Images come resized, in order, in batches; bad ones are named."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from featurebank.backbone import Backbone
from featurebank.dataset import load_dataset
from featurebank.engine.feed import feed


@pytest.mark.parametrize("batch_size", [1, 5, 24, 100])
def test_order_and_content(photos: Path, lite: Backbone, batch_size: int) -> None:
    dataset = load_dataset(str(photos))
    wanted = [3, 0, 23, 7, *range(8, 20)]
    batches = list(feed(dataset, lite, wanted, batch_size))
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
    batches = list(feed(dataset, lite, range(24), 4))
    bad = [entry for batch in batches for entry in batch.bad]
    assert sorted(dataset.ids[index] for index, _ in bad) == names
    assert all(reason and "\n" not in reason for _, reason in bad)
    assert len(np.concatenate([batch.indices for batch in batches])) == 21


def test_bad_images_alone(photos: Path, lite: Backbone) -> None:
    (photos / "ant/0.jpg").write_bytes(b"")
    dataset = load_dataset(str(photos))
    (batch,) = feed(dataset, lite, [dataset.ids.index("ant/0.jpg")], 4)
    assert (len(batch.indices), len(batch.images), len(batch.bad)) == (0, 0, 1)


def test_no_images(photos: Path, lite: Backbone) -> None:
    assert list(feed(load_dataset(str(photos)), lite, [], 4)) == []


def test_no_thread_outlives_a_feed_that_is_left_early(photos: Path, lite: Backbone) -> None:
    batches = feed(load_dataset(str(photos)), lite, range(24), 2)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("featurebank-decode")]


def test_reads_only_a_little_ahead(photos: Path, lite: Backbone) -> None:
    asked: list[int] = []

    def indices() -> object:
        for index in [number % 24 for number in range(1000)]:
            asked.append(index)
            yield index

    batches = feed(load_dataset(str(photos)), lite, indices(), 2)  # type: ignore[arg-type]
    next(batches)
    assert len(asked) < 400
    batches.close()
