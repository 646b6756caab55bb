"""`class_weight` as scikit-learn understands it, and as a list."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from featurebank.errors import HeadInputError
from featurebank.training.class_weights import class_weight_check, weights_of_classes

LABELS = np.array(["ant", "bee", "cow"])
Y = LABELS[[0, 0, 0, 0, 1, 1, 2]]
COUNTS = np.array([4, 2, 1])


@pytest.mark.parametrize("given", [None, "balanced", {"ant": 2.0, "bee": 3.0, "cow": 0.5}, {"bee": 3.0}], ids=str)
def test_it_is_scikit_learns(given: object) -> None:
    expected = compute_class_weight(given, classes=LABELS, y=Y)
    np.testing.assert_allclose(weights_of_classes(given, COUNTS, LABELS.tolist()), expected)  # type: ignore[arg-type]


def test_a_list_has_one_number_for_each_class() -> None:
    assert weights_of_classes([3, 1, 2], COUNTS, None).tolist() == [3, 1, 2]
    with pytest.raises(HeadInputError, match="class_weight has 2 numbers, the training images have 3 classes"):
        weights_of_classes([3, 1], COUNTS, None)


def test_numbers_are_found_by_their_text_as_in_a_record() -> None:
    assert weights_of_classes({"7": 2.0}, np.array([1, 1]), [5, 7]).tolist() == [1, 2]
    assert weights_of_classes({5: 1.0, 7: 2.0, 9: 3.0}, np.array([1, 1]), [5, 7]).tolist() == [1, 2]


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(HeadInputError, match="names bea: expected labels of the training images, such as ant, bee"):
        weights_of_classes({"bea": 2.0}, COUNTS, LABELS.tolist())


@pytest.mark.parametrize("given", ["even", [], {}, [1, 0], {"a": -1}, 3, {"a": "b"}], ids=str)
def test_what_is_no_class_weight(given: object) -> None:
    assert not class_weight_check(given).holds
