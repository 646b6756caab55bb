"""Which images to label next: those of a folder, and those that are in the bank without a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from featurebank.advice.examined import ExaminedImages
from featurebank.advice.labelling import labelling_order
from featurebank.advice.learning_curve import KERNEL_IMAGES
from featurebank.advice.result import Labelling, QueuedImage
from featurebank.dataset.decoding.levels import parse_levels
from featurebank.dataset.splits import UNLABELLED
from featurebank.inspection.survey import survey
from featurebank.similarity.queries import Queries
from featurebank.words import counted, one_line


def label_next(images: ExaminedImages, queries: Queries | None, count: int) -> Labelling | None:
    """Orders images without labels by what their labels would teach a head.

    Args:
        images: the labelled images.
        queries: images outside of the bank; those that the bank lacks are run through its network.
        count: the number of groups of similar images.

    Returns:
        The queue; None if there are no images without a label.

    Raises:
        WeightsError: the network of the bank cannot be loaded again.
        BankError: the bank cannot be read or written.
    """
    names, features, known = _without_labels(images, queries)
    if not names and not known:
        return None
    if not names:
        return Labelling((), known, known)
    rows = images.sample(KERNEL_IMAGES, "The head that orders the unlabelled images was trained on")
    with images.reporter.step("ordering the images to label"):
        order = labelling_order(images.features[rows], images.labels[rows], features, count)
    queue = tuple(
        QueuedImage(names[row], margin, images.bank.classes[predicted], group)
        for row, margin, predicted, group in zip(
            order.rows.tolist(), order.margins.tolist(), order.predicted.tolist(), order.groups.tolist(), strict=True
        )
    )
    return Labelling(queue, len(names) + known, known)


def _without_labels(images: ExaminedImages, queries: Queries | None) -> tuple[list[str], np.ndarray, int]:
    """Returns names and features (m, d) of the images without a label, and how many others have one already."""
    bank, tap = images.bank, images.tap
    inside = np.flatnonzero(bank.splits() == UNLABELLED)
    digests = bank.digests()
    names, vectors, contents = bank.ids_at(inside), [bank.rows(tap, inside)], [bytes(one) for one in digests[inside]]
    if queries is not None and (queries := _readable(images, queries)).items:
        names += [query.name for query in queries.items]
        vectors.append(queries.vectors(bank, tap, reporter=images.reporter).astype(np.float32))
        contents += queries.digests(bank)
    labelled = {bytes(one) for one in np.delete(digests, inside)}
    fresh = _first_of_each(contents, labelled)
    known = sum(content in labelled for content in contents)
    return [names[row] for row in fresh], np.concatenate(vectors)[fresh], known


def _readable(images: ExaminedImages, queries: Queries) -> Queries:
    """Returns the images that can be decoded, and notes the others."""
    if queries.images is None:
        return queries
    levels = parse_levels(images.bank.recipe.get("levels"))
    with images.reporter.track("look", len(queries.images), "images") as advance:
        result = survey(queries.images, advance, levels)
    if bad := result.unreadable:
        first = f"{bad[0].id}: {one_line(bad[0].reason)}"
        images.notes.append(f"{counted(len(bad), 'image')} to label cannot be read; the first: {first}")
    items = tuple(query for query in queries.items if query.row < 0 or result.usable[query.row])
    return replace(queries, items=items)


def _first_of_each(contents: Sequence[bytes], labelled: set[bytes]) -> list[int]:
    """Returns the first row of each content that has no label."""
    first = {content: row for row, content in reversed(list(enumerate(contents)))}
    return sorted(row for content, row in first.items() if content not in labelled)
