"""Gathers what the predictions of the chosen run show: confusions, classes, calibration, mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featurebank.metrics import confusion_counts
from featurebank.metrics.significance import share_interval
from featurebank.reporting.content import (
    Calibration,
    ClassRow,
    Conclusion,
    ConfusionCell,
    Confusions,
    Mistake,
    Mistakes,
    PerClass,
)
from featurebank.reporting.evidence import Answers, Evidence
from featurebank.reporting.sections import drawings, heat
from featurebank.reporting.sections.wording_answers import SURE, calibration, confusions, mistakes, per_class
from featurebank.runs.doubts import groups_at

WHOLE = 30
"""The maximum number of classes of a whole confusion matrix."""
CELLS = 400
"""The maximum number of cells of the list of confusions."""
IN_CELL = 12
"""The maximum number of pictures of a cell."""
WRONG_PICTURES, RIGHT_PICTURES = 160, 60
"""The maximum number of pictures of all cells of confusions, and of all cells of right predictions."""
MISTAKES = 24


def gather_confusions(evidence: Evidence, answers: Answers) -> Confusions:
    """Returns the confusion matrix, with the first pictures of each cell."""
    classes = evidence.bank.classes
    counts = confusion_counts(answers.probabilities, answers.labels)
    wrong = counts * ~np.eye(len(classes), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    pairs = [divmod(int(place), len(classes)) for place in order]
    top = None
    if pairs:
        true, other = pairs[0]
        top = classes[true], classes[other], int(counts[true, other]), int(counts[true].sum())
    whole = len(classes) <= WHOLE
    own = [(label, label) for label in range(len(classes)) if counts[label, label]]
    shown = [*pairs, *own] if whole else pairs[:CELLS]
    sentence = confusions(int(answers.right.sum()), len(answers.labels), top)
    return Confusions(
        Conclusion("Confusions", _on(answers, sentence)), classes, _cells(evidence, answers, shown, counts), whole
    )


def _on(answers: Answers, sentence: str) -> str:
    """Returns a sentence with the images that it is about, if they are not those of the bank's own split."""
    return (
        sentence if answers.images == "validation images" else f"On {len(answers.labels)} {answers.images}: {sentence}"
    )


def _cells(
    evidence: Evidence, answers: Answers, pairs: Sequence[tuple[int, int]], counts: np.ndarray
) -> list[ConfusionCell]:
    """Returns cells with the pictures of their most confident images, within the limits of all cells together."""
    left = {False: WRONG_PICTURES, True: RIGHT_PICTURES}
    each = max(1, min(IN_CELL, RIGHT_PICTURES // max(1, len(counts))))
    cells = []
    for true, predicted in pairs:
        members = np.flatnonzero((answers.labels == true) & (answers.predicted == predicted))
        members = members[np.argsort(-answers.confidence[members], kind="stable")]
        right = true == predicted
        members = members[: min(left[right], each if right else IN_CELL)]
        left[right] -= len(members)
        pictures = evidence.gallery.add_all(answers.positions[members].tolist())
        cells.append(ConfusionCell(true, predicted, int(counts[true, predicted]), pictures))
    return cells


def gather_classes(evidence: Evidence, answers: Answers) -> PerClass:
    """Returns precision, recall and F1 of each class, in the order of the classes."""
    classes = evidence.bank.classes
    counts = confusion_counts(answers.probabilities, answers.labels)
    rows = [_class_row(label, counts, classes) for label in range(len(classes))]
    recalls = [(name, int(counts[i, i]), int(counts[i].sum())) for i, name in enumerate(classes) if counts[i].sum()]
    missing = [name for i, name in enumerate(classes) if not counts[i].sum()]
    groups = groups_at(evidence.bank, answers.positions)

    def interval(name: str, level: float) -> tuple[float, float] | None:
        return share_interval(np.where(answers.labels == classes.index(name), answers.right, np.nan), groups, level)

    return PerClass(Conclusion("Classes", per_class(recalls, missing, interval)), rows)


def _class_row(label: int, counts: np.ndarray, classes: Sequence[str]) -> ClassRow:
    right, images, predicted = int(counts[label, label]), int(counts[label].sum()), int(counts[:, label].sum())
    wrong = counts[label].copy()
    wrong[label] = 0
    other = int(wrong.argmax())
    return ClassRow(
        classes[label], images, right / predicted if predicted else None, right / images if images else None,
        2 * right / (predicted + images) if images else None, classes[other] if wrong[other] else "",
    )  # fmt: skip


def gather_calibration(answers: Answers) -> Calibration:
    """Returns how far the probabilities of the predicted classes can be believed."""
    sure, right = answers.confidence, answers.right
    # The error that right probabilities would have: where no answer is wrong, the spread of the answers shows none.
    error = max(0.0, float(np.mean(sure * (1 - sure))) / len(sure)) ** 0.5
    sentence = calibration(float(sure.mean()), float(right.mean()), error, len(right))
    return Calibration(Conclusion("Probabilities", sentence), drawings.reliability(sure, right))


def gather_mistakes(evidence: Evidence, answers: Answers) -> Mistakes:
    """Returns the most confident mistakes, with heat maps where these cost little."""
    classes = evidence.bank.classes
    wrong = np.flatnonzero(~answers.right)
    wrong = wrong[np.argsort(-answers.confidence[wrong], kind="stable")]
    sure = int((answers.confidence[wrong] > SURE).sum())
    shown = wrong[:MISTAKES]
    maps, note = heat.of_mistakes(evidence, answers.positions[shown], answers.predicted[shown])
    rows = [
        Mistake(
            evidence.gallery.add(position), classes[answers.labels[row]], classes[answers.predicted[row]],
            float(answers.confidence[row]), image,
        )
        for row, position, image in zip(shown.tolist(), answers.positions[shown].tolist(), maps, strict=True)
    ]  # fmt: skip
    return Mistakes(Conclusion("Mistakes", mistakes(len(wrong), len(answers.labels), sure)), rows, note)
