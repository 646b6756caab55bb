"""Numbers in sentences."""

from __future__ import annotations

import pytest

from featurebank.words import counted


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((0, "run"), "0 runs"),
        ((1, "run"), "1 run"),
        ((2, "run"), "2 runs"),
        ((2, "class"), "2 classes"),
        ((2, "image is", "images are"), "2 images are"),
    ],
)
def test_a_number_with_its_noun(words: tuple[int, str], text: str) -> None:
    assert counted(*words) == text
