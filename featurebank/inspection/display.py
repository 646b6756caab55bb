"""The display of an inspection in a notebook: the most important part of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featurebank.inspection.advice import advise
from featurebank.system.html import PICTURES, Pictures, class_bars, picture, render
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.inspection.stage import Inspection

_GROUPS = 3
_LINES = 8


def inspection_html(report: Inspection) -> str:
    """Returns the display of an inspection: counts, warnings, samples and the first groups of duplicates."""
    unreadable = len(report.unreadable)
    facts = [
        counted(report.images, "image"), counted(len(report.classes), "class"),
        ", ".join(report.formats), report.one_size or _range(report),
        *([f"{unreadable} unreadable"] if unreadable else []),
    ]  # fmt: skip
    counts = {split: [row[name] for name in report.classes] for split, row in report.counts.items()}
    blocks = [_samples(report), class_bars(report.classes, counts, "images of each class"), *_duplicates(report)]
    warnings = advise(report)
    hidden = [f"and {counted(len(warnings) - _LINES, 'more line')}"] if len(warnings) > _LINES else []
    return render(f"Inspection of {report.dataset}", facts=facts, warnings=[*warnings[:_LINES], *hidden], blocks=blocks)


def _range(report: Inspection) -> str:
    """Returns the range of the images' sizes in words."""
    width, height = report.sizes["width"].quantiles, report.sizes["height"].quantiles
    sides = (width["min"], height["min"], width["max"], height["max"])
    return "{:.0f} x {:.0f} to {:.0f} x {:.0f}".format(*sides)


def _samples(report: Inspection) -> Pictures | None:
    first = [(name, ids[0]) for name, ids in report.samples.items() if ids][:PICTURES]
    return Pictures([picture(report.thumbnails.get(one), name, one) for name, one in first]) if first else None


def _duplicates(report: Inspection) -> list[Pictures]:
    return [
        Pictures(
            [
                picture(report.thumbnails.get(place.id), f"{place.split}: {place.label}", place.id)
                for place in group.images[:PICTURES]
            ],
            f"equal images, {number} of {counted(report.duplicates.total, 'group')}",
        )
        for number, group in enumerate(report.duplicates.groups[:_GROUPS], 1)
    ]
