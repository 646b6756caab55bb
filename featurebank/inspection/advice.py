"""What is wrong with a dataset and what to do about it, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from featurebank.inspection.stage import Inspection

_RARE = 10
"""How many times larger the largest class may be than the smallest before it is told."""


def advise(found: Inspection) -> list[str]:
    """Returns a line for each kind of problem, with what to do; none where there is nothing to mend."""
    return [*found.warnings, *_unreadable(found), *_duplicates(found), *_near_duplicates(found), *_imbalance(found)]


def number(count: int, what: str) -> str:
    """Returns "1 image" or "2 images"."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _unreadable(found: Inspection) -> Iterator[str]:
    if found.unreadable:
        which = "it" if len(found.unreadable) == 1 else "them"
        yield (
            f"{number(len(found.unreadable), 'image')} cannot be read: extraction leaves {which} out; "
            f"fetch {which} anew or remove {which}"
        )


def _duplicates(found: Inspection) -> Iterator[str]:
    same = found.duplicates
    if same.across_labels:
        yield (
            f"{_stands(same.across_labels)} in more than one class, byte by byte the same: only one label can be "
            "right; look at the pictures and remove the others"
        )
    if same.across_splits:
        yield (
            f"{_stands(same.across_splits)} in more than one split: there, what was learnt by heart counts as "
            "understood; remove all copies but one before you believe an accuracy"
        )
    if same.total and not (same.across_labels or same.across_splits):
        yield (
            f"{number(same.total, 'image')} can be found more than once, always in one class and split: harmless (a "
            "content is extracted once), but each copy counts in training"
        )


def _near_duplicates(found: Inspection) -> Iterator[str]:
    near = found.near_duplicates
    if near and near.capped:
        yield (
            f"more than {number(near.total, 'pair')} of images in different splits look nearly the same to the "
            f"backbone (cosine of '{near.tap}' above {near.threshold:g}): these are no copies, it does not tell such "
            "images apart; give a larger --near, or a --bank of another network or tap"
        )
    elif near and near.total:
        yield (
            f"{number(near.total, 'pair')} of images in different splits look nearly the same to the backbone (cosine "
            f"of '{near.tap}' above {near.threshold:g}): look at the first ones; where both show one scene, put them "
            "into one split, or accuracy is told too high"
        )


def _imbalance(found: Inspection) -> Iterator[str]:
    totals = found.class_totals
    most, least = max(totals, key=lambda name: totals[name]), min(totals, key=lambda name: totals[name])
    if totals[least] and totals[most] > _RARE * totals[least]:  # an empty class has a warning of its own
        yield (
            f"class '{most}' has {totals[most] / totals[least]:.0f} times as many images as '{least}' ({totals[most]} "
            f"to {totals[least]}): judge heads by macro F1 ('featurebank leaderboard --sort macro_f1'), or find more "
            "of the rare ones"
        )


def _stands(count: int) -> str:
    return "1 image stands" if count == 1 else f"{count} images stand"
