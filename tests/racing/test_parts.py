"""The parts of a race: each contains the one before, and only training images."""

from __future__ import annotations

import numpy as np
from contestants import images

import featurebank as fb
from featurebank.racing.parts import Parts


def test_parts_contain_each_other_and_hold_training_images_alone() -> None:
    dataset = fb.load_dataset(images(90))
    parts = Parts(dataset)
    assert len(parts) == int((dataset.splits == 0).sum())
    small, large = parts.part(10), parts.part(30)
    assert set(small.ids) < set(large.ids) <= {dataset.ids[place] for place in np.flatnonzero(dataset.splits == 0)}
    assert (large.splits == 0).all()
    assert not large.warnings()
    place = {name: position for position, name in enumerate(dataset.ids)}
    for position, name in enumerate(large.ids):
        assert large.labels[position] == dataset.labels[place[name]]
        assert large.digests[position] == dataset.digests[place[name]]
        assert np.array_equal(large.image(position), dataset.image(place[name]))


def test_classes_of_a_part_are_counted() -> None:
    parts = Parts(fb.load_dataset(images(90)))
    assert parts.classes(1) == 1
    assert parts.classes(len(parts)) == 3
