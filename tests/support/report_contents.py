"""Contents of a report, made by hand: sections of all kinds, with names of the caller's choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from featurebank.certainty.measured import MeasuredAnswers, MeasuredSets
from featurebank.charts.confusion import reliability
from featurebank.charts.doubts import risk_coverage
from featurebank.charts.image_map import image_map
from featurebank.charts.runs import HeadPoint, accuracy_against, axes_of, axis_effects
from featurebank.reporting.content import (
    BankReport,
    Board,
    BoardRow,
    Calibration,
    ClassRow,
    ComparedBank,
    Comparison,
    Conclusion,
    ConfusionCell,
    Confusions,
    DataDoubts,
    Fact,
    ImageMap,
    LabelError,
    Mistake,
    Mistakes,
    NearCopies,
    PerClass,
    ReportContent,
    ReportPicture,
    Savings,
    WhatRan,
    Winner,
)
from featurebank.reporting.content_doubts import SetsAndAnswers

FLOWERS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><svg onload=alert(3)>",
    "{{7*7}} ${7*7} <!--",
    'it\'s a "quote" \\ back\\slash & entity &lt;',
    "__proto__",
    "constructor",
    "\u0648\u0631\u062f\u0629 \u202egnp.exe",
    "👩‍🔬🌷\u200b\u200d",
    "W" * 200,
    "two\nlines\tand a tab",
    "datum.x'] + alert(4) + ['",
)
"""Names that a stranger may give to a class or to a file."""
KINDS = ("softmax", "mlp", "logistic", "ridge", "svm", "knn", "boosted")
TAPS = ("global_pool", "block6", "block4")


def picture(place: int, label: int, name: str, file: str, side: int = 96) -> ReportPicture:
    """Returns a picture of stripes; every eleventh one is gone."""
    if place % 11 == 10:
        return ReportPicture(file, name, None, "the file is gone")
    rows, columns = np.mgrid[:side, :side]
    base = np.array([[230, 170, 60], [90, 160, 80], [200, 70, 90], [80, 120, 200], [150, 90, 180]])[label % 5]
    wave = 0.5 + 0.5 * np.sin((rows + columns * (1 + label)) / 7 + place)
    image = np.clip(base * (0.45 + 0.55 * wave[..., None]), 0, 255).astype(np.uint8)
    return ReportPicture(file, name, image)


def report_content(
    classes: Sequence[str] = FLOWERS,
    *,
    rows: int = 40,
    pictures: int = 60,
    banks: int = 1,
    files: Sequence[str] = (),
) -> ReportContent:
    """Returns a report with sections of all kinds.

    Args:
        classes: names of the classes.
        rows: number of heads on the leaderboard; the last three failed.
        pictures: number of images.
        banks: number of banks.
        files: ids of the first images.
    """
    reports = [bank_report(f"flowers-{number}", classes, rows, pictures, files) for number in range(banks)]
    return ReportContent("flowers", "2026-11-30 03:20 UTC", "0.1.0", reports, comparison(banks) if banks > 1 else None)


def comparison(banks: int) -> Comparison:
    """Returns the comparison of some banks."""
    lines = [
        ComparedBank(
            f"flowers-{number}", "flowers", "efficientnet_lite0", "global_pool", "softmax lr=0.01",
            0.94 - number / 50, (0.91 - number / 50, 0.96 - number / 50), 12.5 * (number + 1), 5120.0 / (number + 1),
            number,
        )
        for number in reversed(range(banks))  # not in the order of the parts
    ]  # fmt: skip
    rows = [
        replace(row, values={"bank": f"flowers-{place % banks}", "images a second": 12.5, **row.values})
        for place, row in enumerate(board_row(number, 6) for number in range(3))
    ]
    board = Board(Conclusion("All heads of all banks", "flowers-0 has the best head."), rows, 0, [], [])
    return Comparison(Conclusion("The banks side by side", "flowers-0 is the best, and the slowest one."), lines, board)


def sure() -> SetsAndAnswers:
    """Returns the section about sets of classes and abstention, with an error that no threshold reaches."""
    sets = [MeasuredSets(0.9, 0.91, (0.85, 0.95), 1.1, 0.02), MeasuredSets(0.95, 0.94, (0.89, 0.97), 1.4, 0.0)]
    answers = [MeasuredAnswers(0.01, 0.0, None, None), MeasuredAnswers(0.05, 0.8, 0.04, (0.02, 0.08))]
    chart = risk_coverage([(0.5, 0.0), (1.0, 0.1)], [(0.05, 0.8, 0.04)])
    return SetsAndAnswers(
        Conclusion("When the head is not sure", "It answers 80 %."), sets, answers, "100 images", chart
    )


def bank_report(name: str, classes: Sequence[str], rows: int, pictures: int, files: Sequence[str]) -> BankReport:
    """Returns the report of one bank."""
    count = len(classes)
    ids = [files[place] if place < len(files) else f"val/image_{place:04d}.jpg" for place in range(pictures)]
    shown = [picture(place, place % count, classes[place % count], ids[place]) for place in range(pictures)]
    of_class = {label: [place for place in range(pictures) if place % count == at] for at, label in enumerate(classes)}
    places, labels = np.random.default_rng(0).normal(size=(pictures, 2)), np.arange(pictures) % count
    predicted = np.where(np.arange(pictures) % 9, labels, (labels + 1) % count)
    sections = (
        what_ran(classes, of_class),
        winner(classes),
        board(rows),
        confusions(classes, of_class),
        per_class(classes),
        Calibration(
            Conclusion("Can the probabilities be believed?", "They are 0.03 too high on average."),
            reliability([0.5, 0.7, 0.9], [0.4, 0.7, 0.88], [10, 20, 70], 0.03),
        ),
        sure(),
        mistakes(classes, pictures),
        ImageMap(
            Conclusion("A map of the validation images", "Roses and tulips overlap."),
            [(name, image_map(places, ids, labels, classes, predicted=predicted)) for name in ("PCA", "t-SNE")],
            {identity: place for place, identity in enumerate(ids)},
        ),
        doubts(classes, pictures),
        Savings(
            Conclusion("What one extraction saved", "The features were computed once, not 300 times: 61 min saved."),
            [
                Fact("extraction", "12.5 s"),
                Fact("300 passes of the network", "62 min"),
                Fact("break-even", "1.1 heads"),
            ],
            savings_chart(),
        ),
    )
    return BankReport(name, sections, shown, ["3 heads failed: see the end of the leaderboard."])


def what_ran(classes: Sequence[str], of_class: dict[str, list[int]]) -> WhatRan:
    """Returns the section on dataset, network and bank."""
    facts = [
        Fact("dataset", "flowers, 500 images", "fingerprint 5d41402abc4b2a76b9719d911017c592"),
        Fact("network", "efficientnet_lite0, 224 pixels", "weights sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b"),
        Fact("bank", "/home/ann/cache/flowers-efficientnet_lite0"),
        Fact("extraction", "12.5 s on OpenVINO"),
        Fact("versions", "featurebank 0.1.0, TensorFlow 2.18.0, NumPy 2.1"),
    ]
    counts = {"train": [80 - place for place in range(len(classes))], "val": [20] * len(classes)}
    samples = {label: places[:4] for label, places in of_class.items()}
    conclusion = Conclusion("What was run", f"500 images of {len(classes)} classes; the classes are balanced.")
    return WhatRan(conclusion, facts, classes, counts, samples)


def winner(classes: Sequence[str]) -> Winner:
    """Returns the section on the chosen run."""
    facts = [
        Fact("validation accuracy", "94.0 % (94 of 100)", "95 % interval 87.5 to 97.2 %"),
        Fact("head", "softmax lr=0.01"),
        Fact("tap", "global_pool"),
        Fact("training accuracy", "99.2 %"),
        Fact("test accuracy", "not opened yet"),
        Fact("hardest class", classes[2 % len(classes)]),
    ]
    sentence = "softmax lr=0.01 is the best; 3 heads cannot be told apart from it: choose the cheapest."
    others = ["softmax lr=0.003", "ridge l2=1", "logistic C=10"]
    return Winner(Conclusion("The winner", sentence), facts, "run0", others)


def board(count: int) -> Board:
    """Returns a leaderboard."""
    rows = [board_row(place, count) for place in range(count)]
    points = [
        HeadPoint(
            row.run, row.head, row.kind, row.accuracy, *row.interval, row.seconds, row.parameters,
            {"tap": row.tap}, row.indistinguishable,
        )
        for row in rows if row.accuracy is not None and row.interval is not None
    ]  # fmt: skip
    costs = [(cost, accuracy_against(points, cost)) for cost in ("seconds", "parameters")]
    effects = [(name, f"{name} matters.", axis_effects({name: values})) for name, values in axes_of(points).items()]
    conclusion = Conclusion("The leaderboard", "The best 4 heads cannot be told apart.")
    return Board(conclusion, rows, 2, costs, effects)


def board_row(place: int, count: int) -> BoardRow:
    """Returns one line of a leaderboard; neural heads have curves."""
    kind, tap = KINDS[place % len(KINDS)], TAPS[place % len(TAPS)]
    if place >= count - 3:
        return BoardRow(
            f"run{place}", f"{kind} lr=100", kind, tap, None, None, None, "failed", False, 0.1, None,
            failure="the loss is not a number from epoch 2 on: use a smaller learning rate",
        )  # fmt: skip
    accuracy = 0.94 - 0.5 * place / max(1, count)
    neural = kind in {"softmax", "mlp"}
    epochs = list(range(1, 31)) if neural else []
    curves = {
        "loss": [1.6 * 0.9**epoch for epoch in epochs],
        "accuracy": [1 - 0.8 * 0.85**epoch for epoch in epochs],
        "val_loss": [0.4 + 1.2 * 0.85**epoch + max(0, epoch - 12) * 0.02 for epoch in epochs],
        "val_accuracy": [accuracy - 0.7 * 0.8**epoch for epoch in epochs],
    }
    return BoardRow(
        f"run{place}", f"{kind} lr={0.01 / (1 + place):.4g}", kind, tap, accuracy, (accuracy - 0.03, accuracy + 0.02),
        min(1.0, accuracy + 0.05), ("fits", "over-fits", "under-fits")[place % 3], place < 4, 0.2 + place % 9,
        6405.0 * (1 + place % 4) if kind != "knn" else None, {"F1": accuracy - 0.01},
        curves=curves if neural else None, epochs=epochs, best_epoch=12 if neural else 0,
        overfits_from=13 if neural and place % 2 else 0,
    )  # fmt: skip


def confusions(classes: Sequence[str], of_class: dict[str, list[int]]) -> Confusions:
    """Returns a confusion matrix with its pictures."""
    count = len(classes)
    cells = [ConfusionCell(at, at, 17 - at % 3, of_class[label][:8]) for at, label in enumerate(classes)]
    cells += [ConfusionCell(at, (at + 1) % count, 2 + at % 2, of_class[label][:3]) for at, label in enumerate(classes)]
    cells.sort(key=lambda cell: (cell.true == cell.predicted, -cell.count))
    conclusion = Conclusion("Confusions", f"{classes[0]} is most often taken for {classes[1]}.")
    return Confusions(conclusion, classes, cells, count <= 30)


def per_class(classes: Sequence[str]) -> PerClass:
    """Returns the table of classes."""
    rows = [
        ClassRow(
            label, 20, None if at == 3 else 0.9 - at % 7 / 20, 0.85 - at % 5 / 20, 0.87 - at % 4 / 20, classes[at - 1]
        )
        for at, label in enumerate(classes)
    ]
    return PerClass(Conclusion("Class by class", f"{classes[-1]} is the hardest class."), rows)


def mistakes(classes: Sequence[str], pictures: int) -> Mistakes:
    """Returns mistakes, some with heat maps."""
    rows = [
        Mistake(
            place, classes[place % len(classes)], classes[(place + 1) % len(classes)], 0.99 - place / 200,
            np.full((96, 96, 3), (250, 100 + 12 * place, 30), np.uint8) if place % 4 else None,
        )
        for place in range(min(12, pictures))
    ]  # fmt: skip
    conclusion = Conclusion("The most confident mistakes", "4 of them look like label errors.")
    return Mistakes(conclusion, rows, "Warm colours mark what spoke for the predicted class.")


def doubts(classes: Sequence[str], pictures: int) -> DataDoubts:
    """Returns likely label errors and near copies."""
    errors = [
        LabelError(place, classes[place % len(classes)], classes[(place + 2) % len(classes)], 0.98 - place / 100)
        for place in range(min(6, pictures))
    ]
    near = [NearCopies(place, pictures - 1 - place, ("train", "val"), 0.9991) for place in range(min(3, pictures // 2))]
    conclusion = Conclusion(
        "SetsAndAnswers about the data", "6 labels are probably wrong, and 3 images are in two splits."
    )
    return DataDoubts(conclusion, errors, near, ["Test images were not looked at."])


def savings_chart() -> Any:
    """Returns a small chart."""
    import altair

    rows = [{"way": way, "seconds": seconds} for way, seconds in (("one pass", 12.5), ("a pass for each head", 3720))]
    return altair.Chart(altair.InlineData(values=rows), height=80).mark_bar().encode(x="seconds:Q", y="way:N")
