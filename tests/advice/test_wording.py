"""What the sentences say where a number could mislead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from featurebank.advice.learning_curve import Forecast, LearningCurve
from featurebank.advice.power_law import PowerLaws
from featurebank.advice.result import ClassForecast, Labelling, MixedClasses, QueuedImage
from featurebank.advice.wording import conflicts, labels, mixed, more_images, of_classes, outlying, to_label

QUEUED = QueuedImage("a.jpg", 0.1, "rose", 1)


def forecast(gain: float, low: float, high: float, more: int = 400) -> Forecast:
    return Forecast(400 + more, more, 0.1, (0.05, 0.15), gain, (low, high))


def curve(misfit: float = 0.0) -> LearningCurve:
    one = np.ones(1)
    return LearningCurve(np.array([400]), one, one, PowerLaws(one, one, one), 400, misfit, one)


def test_a_gain_has_its_interval() -> None:
    few, many = forecast(0.008, 0.002, 0.012, 100), forecast(0.014, 0.006, 0.022)
    assert more_images(curve(), (few, many)) == (
        "100 more images would bring +0.8 points (0.2 to 1.2), 400 more +1.4 points (0.6 to 2.2)."
    )


def test_a_flat_curve_and_a_poor_fit_promise_nothing() -> None:
    assert "The learning curve is flat" in (more_images(curve(), (forecast(0.001, -0.01, 0.012),)) or "")
    assert "follows no power law" in (more_images(curve(0.03), (forecast(0.1, 0.05, 0.2),)) or "")
    assert more_images(None, ()) is None


def test_the_class_that_gains_most_must_gain_for_certain() -> None:
    unsure = ClassForecast("cat", 80, 0.3, forecast(0.09, -0.02, 0.2))
    sure = ClassForecast("dog", 80, 0.2, forecast(0.03, 0.01, 0.05))
    assert of_classes((unsure,)) is None
    assert (of_classes((unsure, sure)) or "").startswith("'dog' would gain most: 400 more images of all classes")


def test_classes_that_cannot_be_separated_come_before_those_that_are_mixed_up() -> None:
    def pair(first: str, *, apart: bool) -> MixedClasses:
        return MixedClasses(first, "z", 3, 2, 100, 0.05, (0.02, 0.11), 0.5, (0.4, 0.6), not apart)

    lines = mixed([pair("a", apart=False), pair("b", apart=True)])
    assert "no head tells 'a' and 'z' apart better than chance: join these classes" in lines[0]
    assert lines[1] == "'b' and 'z' are mixed up most: 5 of 100 images (5.0 %, 95 % interval 2.0 to 11.0 %)."
    assert mixed([]) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (labels(0, 40), "No label among 40 images looks wrong."),
        (labels(1, 40), "1 of 40 labels (2.5 %) looks wrong: look at the image and correct it."),
        (conflicts(0, 0), None),
        (conflicts(2, 1), "2 pairs of nearly equal images have different labels, 1 of them equal byte for byte: only"),
        (outlying(0, 9), None),
        (outlying(1, 9), "1 of 9 images resembles no other: check whether it belongs in the dataset."),
        (to_label(None), None),
        (to_label(Labelling((QUEUED,), 1, 0)), "Label the one image."),
        (
            to_label(Labelling((QUEUED, replace(QUEUED, group=2)), 2, 0)),
            "Label all 2 images, the most uncertain first.",
        ),
        (to_label(Labelling((QUEUED,), 2, 0)), "Label 1 image of 2 first: of each group"),
        (to_label(Labelling((), 3, 3)), "There is nothing to label: the bank has all of these images with a label."),
    ],
)
def test_one_and_none(line: str | None, expected: str | None) -> None:
    assert line is expected is None or (line or "").startswith(expected or "nothing")
