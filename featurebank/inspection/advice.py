"""Advice on a dataset: its problems and their remedies, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from featurebank.inspection.group_columns import advice_on

if TYPE_CHECKING:
    from featurebank.inspection.stage import Inspection

_RARE = 10
"""Ratio of the largest to the smallest class above which there is advice on imbalance."""


def advise(report: Inspection) -> list[str]:
    """Returns one line of advice for each kind of problem; none if there are no problems."""
    return [
        *report.warnings,
        *_unreadable(report),
        *_duplicates(report),
        *_near_duplicates(report),
        *advice_on(report.group_columns),
        *_imbalance(report),
    ]


def number(count: int, what: str) -> str:
    """Returns "1 image" or "2 images"."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _unreadable(report: Inspection) -> Iterator[str]:
    if report.unreadable:
        which = "it" if len(report.unreadable) == 1 else "them"
        yield (
            f"{number(len(report.unreadable), 'image')} cannot be read: extraction skips {which}; "
            f"download {which} again or remove {which}"
        )


def _duplicates(report: Inspection) -> Iterator[str]:
    same = report.duplicates
    if same.across_labels:
        yield (
            f"{_stands(same.across_labels)} in more than one class, byte for byte the same: only one label can be "
            "correct; look at the images and remove the others"
        )
    if same.across_splits:
        yield (
            f"{_stands(same.across_splits)} in more than one split: there, a memorised image counts as recognised; "
            "remove all copies but one before you trust an accuracy"
        )
    if same.total and not (same.across_labels or same.across_splits):
        yield (
            f"{number(same.total, 'image')} {'occurs' if same.total == 1 else 'occur'} more than once, always in one "
            "class and split: harmless (each content is extracted once), but each copy counts in training"
        )


def _near_duplicates(report: Inspection) -> Iterator[str]:
    near = report.near_duplicates
    if near and near.capped:
        yield (
            f"more than {number(near.total, 'pair')} of images in different splits look nearly the same to the "
            f"backbone (cosine of '{near.tap}' above {near.threshold:g}): these are no copies, the backbone cannot "
            "distinguish such images; use a larger --near, or a --bank of another network or tap"
        )
    elif near and near.total:
        yield (
            f"{number(near.total, 'pair')} of images in different splits look nearly the same to the backbone (cosine "
            f"of '{near.tap}' above {near.threshold:g}): look at the first ones; if both show the same scene, put them "
            "into one split, or the accuracy will be too optimistic"
        )


def _imbalance(report: Inspection) -> Iterator[str]:
    totals = report.class_totals
    most, least = max(totals, key=lambda name: totals[name]), min(totals, key=lambda name: totals[name])
    if totals[least] and totals[most] > _RARE * totals[least]:  # an empty class has its own warning
        yield (
            f"class '{most}' has {totals[most] / totals[least]:.0f} times as many images as '{least}' ({totals[most]} "
            f"to {totals[least]}): compare heads by macro F1 ('featurebank leaderboard --sort macro_f1'), or find more "
            "images of the rare classes"
        )


def _stands(count: int) -> str:
    return "1 image occurs" if count == 1 else f"{count} images occur"
