"""Corrections stay with the content of images, until the dataset itself is right or says something else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.bank.items import Items
from featurebank.bank.pages.corrections import (
    Correction,
    apply_corrections,
    correction_record,
    read_corrections,
)
from featurebank.system import digest

CLASSES = ("a", "b", "c")
NAMES = [digest.of_recipe(number) for number in range(4)]


def items(contents: list[int], labels: list[int]) -> Items:
    digests = np.array([NAMES[content] for content in contents], "S32")
    ids = [str(number) for number in range(len(contents))]
    return Items(ids, digests, np.array(labels, np.int32), np.zeros(len(labels), np.uint8))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=8), st.data())
def test_only_images_with_the_old_label_change(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    table = items([content for content, _ in rows], [label for _, label in rows])
    pairs = data.draw(st.lists(st.sampled_from([(a, b) for a in range(3) for b in range(3) if a != b]), max_size=4))
    corrections = [Correction(NAMES[n], CLASSES[was], CLASSES[label]) for n, (was, label) in enumerate(pairs)]
    result = apply_corrections(table, CLASSES, corrections)
    for (content, label), now in zip(rows, result.items.labels.tolist(), strict=True):
        was, right = pairs[content] if content < len(pairs) else (None, label)
        assert now == (right if label == was else label)
    again = apply_corrections(table, CLASSES, read_corrections({"corrections": result.record}))
    assert (again.items.labels == result.items.labels).all()
    assert again.record == result.record


def test_settled_and_overruled_corrections_are_forgotten() -> None:
    corrections = [Correction(NAMES[0], "a", "b"), Correction(NAMES[1], "a", "b"), Correction(NAMES[3], "a", "c")]
    result = apply_corrections(items([0, 1], [1, 2]), CLASSES, corrections)
    assert result.items.labels.tolist() == [1, 2]
    assert result.record == correction_record(corrections[2:]), "an image that is away may come back"
    assert (result.corrected, result.overruled) == (0, 1)
    assert result.line is not None
    assert "no longer counts" in result.line
    assert apply_corrections(items([2], [0]), CLASSES, corrections[2:]).line is None


@pytest.mark.parametrize("wrong", ["text", [1], [{"digest": "x"}], [{"digest": "x", "was": "a", "label": 3}]])
def test_what_no_writer_writes_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="not understood"):
        read_corrections({"corrections": wrong})


def test_images_without_a_label_stay_without() -> None:
    result = apply_corrections(items([0, 0], [-1, 0]), CLASSES, [Correction(NAMES[0], "a", "b")])
    assert result.items.labels.tolist() == [-1, 1]
    gone = apply_corrections(items([0], [-1]), CLASSES, [Correction(NAMES[0], "d", "b")])
    assert gone.items.labels.tolist() == [-1]
    assert len(gone.record) == 1
