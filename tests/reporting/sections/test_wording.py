"""The sentences of a report, in situations that differ in what a reader should conclude."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.certainty.measured import measured
from featurebank.certainty.record import Certainty
from featurebank.reporting.sections import wording, wording_answers, wording_data
from featurebank.statistics import proportion_interval

ROWS = np.array([[0.9, 0.1]] * 60 + [[0.6, 0.4]] * 40)
LABELS = np.array([0] * 80 + [1] * 20)
CERTAINTY = Certainty.of(ROWS, LABELS)


def winner(right: int, images: int, **more: Any) -> str:
    """The sentence on a head that is right on so many of the images."""
    facts = {
        "classes": 4, "heads": 10, "alike": 0, "near": 0, "verdict": "fits", "train": 1.0, "at_chance": False, **more,
    }  # fmt: skip
    return wording.winner("ridge", right / images, proportion_interval(right / images, images), images, **facts)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (
            winner(200, 200),
            "all 200 validation images correctly; on new images its accuracy may still be as low as 98.",
        ),
        (winner(25, 100, at_chance=True), "No head is clearly better than guessing"),
        (winner(25, 100, at_chance=True), "guessing reaches about 25.0 %"),
        (winner(180, 200), "90.0 % (180 of 200) of the validation images; on new images, expect 85.1 to 93.4 %"),
        (winner(180, 200, heads=9), "expect 85.1 to 93.4 %. It is"),
        (winner(180, 200, heads=10), "rather in the lower half, because the best of 10 heads looks better than it is"),
        (winner(150, 200, verdict="over-fits"), "more images or stronger regularisation will help more"),
        (winner(180, 200, alike=40, near=12), "40 other heads cannot be told apart from it on these images, and 12 of"),
        (winner(180, 200, alike=1, near=1), "1 other head cannot be told apart"),
        (winner(180, 200, alike=3), "3 other heads cannot be told apart from it, though none is within one standard"),
        (winner(180, 200), "better than all other heads, by more than chance"),
        (winner(18, 20), "20 validation images are too few to choose a head by"),
        (winner(180, 200, heads=1), "the only head, so there is nothing to compare it with"),
        (wording.nothing_to_choose(3, "no memory"), "All 3 runs failed, so there is nothing to choose from. The first"),
        (wording.nothing_to_choose(1, "no memory"), "The only run failed"),
        (wording.nothing_to_choose(0, ""), "let the same command go on"),
    ],
)
def test_the_winner(sentence: str, words: str) -> None:
    assert words in sentence


def board(**more: Any) -> str:
    facts = {"heads": 41, "alike": 0, "images": 100, "runner_up": ("knn", "4.2 points"), "cheapest": "knn", "failed": 0}
    return wording.board(**{**facts, **more})


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (
            board(),
            "better than all 40 others on 100 validation images, by more than chance. The next, knn, is 4.2 points",
        ),
        (board(alike=40), "None of the other heads can be told apart from the best on 100 validation images."),
        (board(alike=7), "7 of 40 other heads cannot be told apart"),
        (board(alike=7), "the fastest is knn."),
        (board(heads=1), "One head was trained: add others"),
        (board(heads=0, failed=2), "No head has a result. 2 runs failed"),
        (board(failed=1), "1 run failed; the table gives the reasons."),
    ],
)
def test_the_leaderboard(sentence: str, words: str) -> None:
    assert words in sentence


@pytest.mark.parametrize(
    ("interval", "gain", "words"),
    [
        ((0.01, 0.05), 0.03, "0.1 is better than 10 by 3.0 points (95 % interval 1.0 to 5.0), over 4 pairs"),
        ((-0.01, 0.05), 0.02, "No difference beyond chance: 0.1 is 2.0 points better than 10"),
        (None, 0.02, "0.1 is 2.0 points better than 10 on average"),
        ((-0.01, 0.01), 0.0, "No difference: heads with 0.1 and with 10 are equally good"),
    ],
)
def test_an_axis(interval: tuple[float, float] | None, gain: float, words: str) -> None:
    assert words in wording.axis("0.1", "10", gain, interval=interval, pairs=4)


def test_all_axes() -> None:
    assert wording.axes([], 3) == "None of 3 axes makes a difference beyond chance on these validation images."
    several = wording.axes([("C of svm", 0.5), ("pca", 0.1), ("metric", 0.1)], 1)
    assert several == (
        "C of svm matters most (50.0 points between its best and its worst value), then pca and metric; "
        "1 other axis makes no difference beyond chance."
    )


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (wording_answers.confusions(9, 9, None), "Nothing is confused: all 9 images are classified correctly."),
        (wording_answers.confusions(1, 1, None), "the only image is classified correctly"),
        (
            wording_answers.confusions(7, 9, ("a", "b", 1, 3)),
            "2 images of 9 are wrong, and no two classes are confused",
        ),
        (
            wording_answers.confusions(5, 9, ("a", "b", 3, 4)),
            "a is most often taken for b: 3 of its 4 images, and 75.0 %",
        ),
        (wording_answers.per_class([("a", 5, 5)], []), "Every class is recognised without a mistake."),
        (wording_answers.per_class([("a", 5, 5), ("b", 4, 5)], []), "no class is clearly weaker than the others"),
        (
            wording_answers.per_class([("a", 4, 5), ("b", 4, 5), ("c", 5, 5)], []),
            "a and b are recognised worst, 80.0 % (4 of 5) of the images of each",
        ),
        (wording_answers.per_class([("a", 95, 99), ("b", 10, 99)], []), "b is recognised worst, and more than chance"),
        (
            wording_answers.per_class([("a", 5, 5)], ["x", "y"]),
            "Nothing is known about x and y, which have no validation",
        ),
        (wording_answers.per_class([], ["x"]), "Nothing is known about x, which has no validation image."),
        (wording_answers.calibration(0.91, 0.9, 0.02, 60), "chance explains such a difference"),
        (wording_answers.calibration(0.99, 0.8, 0.02, 60), "over-confident"),
        (wording_answers.calibration(0.5, 0.9, 0.02, 60), "too cautious"),
        (
            wording_answers.certainty(measured(CERTAINTY, ROWS, LABELS, errors=(0.02, 0.5))),
            "have it for 100 %, with a mean size of 1.4. Asked for an error of 2.0 %, the head answers 60.0 %",
        ),
        (
            wording_answers.certainty(measured(CERTAINTY, ROWS, LABELS, errors=(0.001,))),
            "An error of 0.1 % is reached by no threshold",
        ),
        (wording_answers.mistakes(0, 12, 0), "There is no mistake among 12 images."),
        (wording_answers.mistakes(3, 12, 0), "where this head is sure, it is right"),
        (wording_answers.mistakes(3, 12, 1), "1 of them with a probability above 90.0 %: look at this one first"),
        (wording_answers.image_map(0.95, 0.2, 60), "separate the classes well"),
        (wording_answers.image_map(0.5, 0.2, 60), "the classes overlap"),
        (wording_answers.image_map(0.21, 0.2, 60), "hardly separate the classes"),
    ],
)
def test_the_predictions(sentence: str, words: str) -> None:
    assert words in sentence


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (wording_data.doubts(0, 90, 0), "No label among 90 images looks wrong. No two images of different splits look"),
        (wording_data.doubts(9, 90, 1), "9 of 90 labels (10.0 %) look wrong: check them by eye"),
        (
            wording_data.doubts(1, 90, 3),
            "3 pairs of images in different splits look nearly the same: if they are",
        ),
        (wording_data.doubts(None, 0, None), "The labels were not examined."),
        (wording_data.doubts(0, 90, 100, capped=True), "More than 100 pairs"),
        (wording_data.doubts(0, 90, 100, compared=99), "the features that hardly distinguish these images"),
        (wording_data.savings(None, 3, 3, 1.0), "not recorded"),
        (wording_data.savings(13.2, 1, 1, 1.0), "so that nothing is saved yet"),
        (wording_data.savings(13.2, 10, 10, 1.0), "a pass for each head would have taken 2 min."),
        (wording_data.savings(600, 100, 4000, 60.0), "16.7 h, and up to 27.8 days if the network ran again in every"),
    ],
)
def test_the_data_and_the_cost(sentence: str, words: str) -> None:
    assert words in sentence


@pytest.mark.parametrize(
    ("gain", "interval", "same", "words"),
    [
        (0.05, (0.02, 0.08), True, "lite is better than resnet by 5.0 points (95 % interval 2.0 to 8.0 %), more than"),
        (
            0.01,
            (-0.02, 0.04),
            True,
            "lite and resnet cannot be told apart: the difference of 1.0 point is within chance",
        ),
        (0.05, None, True, "Whether that is more than chance is not known"),
        (None, None, False, "the banks were not validated on the same images"),
    ],
)
def test_several_banks(gain: float | None, interval: Any, same: bool, words: str) -> None:
    sentence = wording_data.compared("lite", "resnet", gain, interval, faster="resnet", same_images=same)
    assert words in sentence
    assert "resnet" in sentence


@given(st.integers(0, 400), st.integers(1, 400), st.integers(0, 50), st.booleans())
def test_sentences_are_whole_whatever_the_numbers(right: int, images: int, alike: int, at_chance: bool) -> None:
    right = min(right, images)
    sentence = winner(right, images, heads=alike + 1, alike=alike, near=alike // 2, at_chance=at_chance)
    assert sentence.endswith(".")
    assert sentence[0].isalpha()
    assert "nan" not in sentence
    assert (wording.percent(right / images) == "100 %") == (right == images)


@pytest.mark.parametrize(
    ("others", "fastest", "speed", "end"),
    [
        ([], "lite0", 5.0, "It is better than all heads of the other banks, by more than chance."),
        (["lite1"], "", None, "Heads of lite1 cannot be told apart from it: choose by what a prediction costs."),
        (["lite1"], "lite1", 123.4, "from it: the fastest of these in use is lite1, with 123 images/s."),
    ],
)  # fmt: skip
def test_one_leaderboard_of_several_banks(others: list[str], fastest: str, speed: float | None, end: str) -> None:
    sentence = wording_data.together(12, "svm", "lite0", 0.931, others, fastest=fastest, speed=speed)
    assert sentence.startswith("The best of 12 heads is svm of lite0, with 93.1 %.")
    assert sentence.endswith(end)


def test_a_weak_class_is_called_weak_only_as_far_as_its_groups_allow() -> None:
    recalls = [("a", 95, 99), ("b", 10, 99)]
    assert "more than chance" in wording_answers.per_class(recalls, [])
    assert "no class is clearly weaker" in wording_answers.per_class(recalls, [], lambda name, level: None)
