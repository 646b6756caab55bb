"""What is said of an accuracy depends on which of the images the model has seen."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.grafting.seen.overlap import Overlap
from featurebank.grafting.seen.record import Origin

TRAINING, VALIDATION, UNSEEN, UNKNOWN = Origin.TRAINING, Origin.VALIDATION, Origin.UNSEEN, Origin.UNKNOWN


def overlap_of(*parts: tuple[Origin, int, int]) -> Overlap:
    """Makes an overlap of parts: their origin, and the numbers of right and of wrong answers."""
    origins = np.concatenate([np.full(right + wrong, origin) for origin, right, wrong in parts])
    right = np.concatenate([np.arange(right + wrong) < right for _, right, wrong in parts])
    return Overlap.of(origins, right, None)


def test_each_part_has_its_own_accuracy() -> None:
    overlap = overlap_of((UNSEEN, 6, 2), (TRAINING, 10, 0), (VALIDATION, 3, 1), (UNKNOWN, 50, 50))
    assert (overlap.images, overlap.compared, overlap.is_exact, overlap.seen) == (122, 22, False, 14)
    assert [one.images for one in (overlap.training, overlap.validation, overlap.unseen)] == [10, 4, 8]
    assert [one.accuracy for one in (overlap.training, overlap.validation, overlap.unseen)] == [1, 0.75, 0.75]
    assert overlap.unseen.accuracy_interval is not None
    assert overlap.unseen.accuracy_interval[0] < 0.75 < overlap.unseen.accuracy_interval[1]
    assert overlap.to_dict()["exact"] is False


def test_parts_count_by_groups() -> None:
    origins, right = np.full(12, UNSEEN), np.arange(12) % 4 > 0
    alone, grouped = (Overlap.of(origins, right, groups).unseen for groups in (None, np.arange(12) // 2))
    assert grouped.accuracy_interval != alone.accuracy_interval


SEEN = (TRAINING, 7, 0), (VALIDATION, 1, 1), (UNSEEN, 3, 1)


@pytest.mark.parametrize(
    ("parts", "split", "message"),
    [
        (
            SEEN, "all",
            "7 of 13 images were used to train the model and 2 to choose it, so the accuracy of 0.9000 is too good; "
            "on 4 unseen images it is 0.7500; evaluate unseen images alone (--on test) for all other figures",
        ),
        (
            ((TRAINING, 1, 0),), "all",
            "1 of 1 image was used to train the model, so the accuracy of 0.9000 is too good; evaluate unseen images",
        ),
        (
            ((VALIDATION, 3, 0), (UNSEEN, 1, 0)), "test",
            "3 of 4 images were used to choose the model, so the accuracy of 0.9000 may be too good; on 1 unseen image "
            "it is 1.0000; evaluate unseen images alone for all other figures",
        ),
        (
            ((TRAINING, 30, 0), (UNSEEN, 9, 1), (UNKNOWN, 60, 0)), "all",
            "30 of 40 images that could be compared (of 100 in all) were used to train the model, so the accuracy of "
            "0.9000 is too good; on 10 unseen images it is about 0.9000; evaluate unseen images alone (--on test) for "
            "all other figures",
        ),
        (((TRAINING, 3, 0), (VALIDATION, 3, 0)), "val", "3 of 6 images were used to train the model and 3 to"),
        (SEEN, "train", None),
        (((VALIDATION, 3, 0), (UNSEEN, 3, 0)), "val", None),
        (((UNSEEN, 3, 0), (UNKNOWN, 3, 0)), "all", None),
        (((UNKNOWN, 3, 0),), "all", None),
    ],
)  # fmt: skip
def test_images_that_were_not_asked_for_are_a_warning(
    parts: tuple[tuple[Origin, int, int], ...], split: str, message: str | None
) -> None:
    found = overlap_of(*parts).warning(0.9, split)
    assert found is None if message is None else found is not None and found.startswith(message)
