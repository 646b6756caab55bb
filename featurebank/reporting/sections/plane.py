"""Gathers the map of the validation images: projections of their features to the plane."""

from __future__ import annotations

import numpy as np

from featurebank.bank.vectors import unit_rows
from featurebank.charts.projection import TSNE_IMAGES
from featurebank.reporting.content import Conclusion, ImageMap
from featurebank.reporting.evidence import Answers, Evidence
from featurebank.reporting.sections import drawings
from featurebank.reporting.sections.doubts import sampled
from featurebank.reporting.sections.wording_answers import image_map
from featurebank.system.runtime import limited_blas
from featurebank.words import counted

POINTS, WITH_UMAP = TSNE_IMAGES, 10_000
"""The maximum number of points, and where UMAP is installed, which is faster than t-SNE for so many."""
PICTURES = 1000
"""The maximum number of points with a picture under the mouse."""
NEIGHBOURS = 5
_ROWS = 1024


def gather_map(evidence: Evidence) -> ImageMap | None:
    """Returns the map of the validation images; None without a tap of vectors, or with too few images."""
    bank, tap = evidence.bank, evidence.tap
    answers = evidence.answers if isinstance(evidence.answers, Answers) else None
    every = np.flatnonzero(bank.splits() == "val") if answers is None else answers.positions
    if tap is None or len(every) <= NEIGHBOURS:
        return None
    rows = sampled(np.arange(len(every)), WITH_UMAP if drawings.has_umap() else POINTS)
    positions = every[rows]
    features, labels = bank.rows(tap, positions), bank.labels()[positions]
    agreeing, chance = agreement(features, labels)
    sentence = image_map(agreeing, chance, len(positions))
    if len(positions) < len(every):
        sentence += f" The map shows {counted(len(positions), 'image')}, a random sample of {len(every)}."
    predicted = None if answers is None else answers.predicted[rows]
    ids = bank.ids_at(positions)
    charts = drawings.image_maps(features, ids, labels, bank.classes, predicted)
    pictured = sampled(np.arange(len(positions)), PICTURES).tolist()
    if len(pictured) < len(positions):
        sentence += f" {counted(len(pictured), 'image')} of them have a picture."
    pictures = {ids[row]: evidence.gallery.add(positions[row], small=True) for row in pictured}
    return ImageMap(Conclusion("Map of the validation images", sentence), charts, pictures)


def agreement(features: np.ndarray, labels: np.ndarray, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Returns the share of the nearest neighbours of an image that are of its class, and what chance gives.

    Args:
        features: (n, d), compared by cosine.
        labels: (n,) integers.
        neighbours: the number of neighbours of each image, below n.

    Example:
        >>> features = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
        >>> agreement(features, np.array([0, 0, 1, 1]), 1)
        (1.0, 0.3333333333333333)
    """
    count = len(labels)
    unit = unit_rows(features)
    agreeing = 0
    with limited_blas():
        for start in range(0, count, _ROWS):
            cosines = unit[start : start + _ROWS] @ unit.T
            own = np.arange(len(cosines))
            cosines[own, start + own] = -np.inf
            nearest = np.argpartition(-cosines, neighbours - 1, axis=1)[:, :neighbours]
            agreeing += int((labels[nearest] == labels[start : start + _ROWS, None]).sum())
    sizes = np.bincount(labels)
    chance = float((sizes * (sizes - 1)).sum()) / (count * (count - 1))
    return agreeing / (count * neighbours), chance
