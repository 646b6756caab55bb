"""Labels that a person corrected in a bank, which the dataset still has as they were.

The manifest lists them by the content of the image: the label of the dataset and the right one. So an extraction that
reads the dataset again does not undo them. Once the dataset itself has the right label, a correction is settled; if
the dataset has a third label, somebody has changed it since, and the dataset counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from featurebank.bank.index import Finder
from featurebank.bank.items import Items
from featurebank.words import counted

CORRECTIONS = "corrections"
"""The entry of the manifest's `dataset` with the corrections."""
_KEYS = ("digest", "was", "label")


@dataclass(frozen=True)
class Correction:
    """The label of all images with one content."""

    digest: str
    was: str
    """The class that the dataset gives them."""
    label: str
    """The class that they have in the bank."""


class CorrectedItems(NamedTuple):
    """The images of a bank with their corrected labels."""

    items: Items
    record: list[dict[str, str]]
    """The corrections that count from now on, as the manifest lists them."""
    corrected: int
    """The number of images whose label was changed."""
    overruled: int
    """The number of corrections that the dataset contradicts with a third label."""

    @property
    def line(self) -> str | None:
        """What the user should know in one line; None if nothing was corrected."""
        overruled = (
            f"; {counted(self.overruled, 'correction')} no longer {'counts' if self.overruled == 1 else 'count'}, "
            "because the dataset has another label since"
            if self.overruled
            else ""
        )
        if not self.corrected and not overruled:
            return None
        verb = "stays" if self.corrected == 1 else "stay"
        return f"{counted(self.corrected, 'label')} that 'featurebank advise --apply' corrected {verb} so{overruled}"


def read_corrections(dataset: Mapping[str, Any]) -> tuple[Correction, ...]:
    """Returns the corrections that the `dataset` of a manifest lists.

    Raises:
        TypeError: they are not what a writer writes.
    """
    listed = dataset.get(CORRECTIONS, [])
    entries = listed if isinstance(listed, list | tuple) else [listed]
    if any(not isinstance(one, Mapping) or any(not isinstance(one.get(key), str) for key in _KEYS) for one in entries):
        message = "a correction of a label is not understood"
        raise TypeError(message)
    return tuple(Correction(*(one[key] for key in _KEYS)) for one in entries)


def correction_record(corrections: Iterable[Correction]) -> list[dict[str, str]]:
    """Returns corrections as the manifest lists them, by content."""
    ordered = sorted(corrections, key=lambda one: (one.digest, one.was))
    return [{key: getattr(one, key) for key in _KEYS} for one in ordered]


def apply_corrections(items: Items, classes: Sequence[str], corrections: Sequence[Correction]) -> CorrectedItems:
    """Corrects the labels that a dataset gives its images.

    Args:
        items: the images with the labels of the dataset.
        classes: the names of its classes.
        corrections: those of the bank.
    """
    if not corrections:
        return CorrectedItems(items, [], 0, 0)
    known = list(dict.fromkeys(one.digest for one in corrections))
    rows_of = _rows_of(items, known)
    labels, places = items.labels.copy(), {name: place for place, name in enumerate(classes)}
    left, corrected, overruled = list[Correction](), 0, 0
    for one in corrections:
        rows = rows_of[one.digest]
        rows = rows[items.labels[rows] >= 0]  # images without a label have none to correct
        present = {classes[label] for label in items.labels[rows].tolist()}
        wrong = rows[items.labels[rows] == places.get(one.was, -1)]
        if one.label in places and len(wrong):
            labels[wrong] = places[one.label]
            corrected += len(wrong)
        if one.was in present or not present or one.label not in places:
            left.append(one)  # of images that the dataset lacks now, too: they may come back
        elif one.label not in present:
            overruled += 1
    return CorrectedItems(replace(items, labels=labels), correction_record(left), corrected, overruled)


def _rows_of(items: Items, digests: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the rows of the images with each content: (m,) int64."""
    places = Finder(np.array(digests, "S32")).find(np.asarray(items.digests))
    order = np.argsort(places, kind="stable")
    order = order[places[order] >= 0]
    bounds = np.searchsorted(places[order], np.arange(len(digests) + 1))
    return {name: order[bounds[place] : bounds[place + 1]] for place, name in enumerate(digests)}
