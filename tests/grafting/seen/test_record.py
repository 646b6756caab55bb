"""A model file stores which images the run was trained on, and which chose it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.bank.index import first_bits
from featurebank.grafting.seen.record import Origin, SeenImages, seen_by
from featurebank.grafting.seen.sketch import MOST, Sketch
from featurebank.system import digest

pytestmark = pytest.mark.heavy


def test_it_knows_the_images_of_a_run(bank: Bank) -> None:
    run = train_heads(bank, [{"kind": "ridge"}])[0]
    seen = seen_by(bank, run)
    assert seen is not None
    again = SeenImages.from_json(seen.to_json())
    words = first_bits(bank.digests())
    expected = [Origin.TRAINING if split == "train" else Origin.VALIDATION for split in bank.splits()]
    assert again.origins(words).tolist() == expected
    assert again.origins(words + np.uint64(1)).tolist() == [Origin.UNSEEN] * len(words)
    sampled = seen_by(bank, replace(run, sample=10))
    assert sampled is not None
    assert (sampled.training.images, sampled.validation.images) == (10, 16)
    assert (sampled.origins(words) == Origin.TRAINING).sum() == 10
    assert seen_by(bank, replace(run, bank="another")) is None, "the bank is not that of the training any more"


def test_what_one_of_two_sketches_does_not_know_is_unknown() -> None:
    digests = np.array([digest.of_bytes(b"%d" % number) for number in range(2 * MOST)], "S32")
    seen = SeenImages(Sketch.of(digests), Sketch.of(digests[:5]))
    words = first_bits(digests)
    expected = np.where(words <= seen.training.limit, Origin.TRAINING, Origin.UNKNOWN)
    np.testing.assert_array_equal(seen.origins(words), expected)
    assert (expected == Origin.TRAINING).sum() == MOST
