"""Which images to label next: those of which a head is unsure, one of each group of similar ones first.

References:
    Scheffer, Decomain, Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001 (the margin).
    Sener, Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018 (k-centres).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurebank.advice.label_errors import calibrated
from featurebank.heads.exact.kernel_base import distances_of
from featurebank.heads.exact.kernel_left_out import STEPS, kernel_left_out, rbf_distances
from featurebank.heads.exact.transforms import row_blocks
from featurebank.system.runtime import limited_blas

POOL = 5
"""The groups are made of so many times as many images as groups, the most uncertain ones."""


@dataclass(frozen=True)
class LabellingOrder:
    """The images to label, in this order: the most uncertain one of each group, then the others."""

    rows: np.ndarray
    """(k,) int64, rows of the unlabelled images."""
    margins: np.ndarray
    """(k,) float64, how much more probable the most probable class is than the second."""
    predicted: np.ndarray
    """(k,) the most probable class."""
    groups: np.ndarray
    """(k,) int64, the number of the group of similar images, from 1 in the order of the queue."""


def labelling_order(features: np.ndarray, labels: np.ndarray, unlabelled: np.ndarray, count: int) -> LabellingOrder:
    """Orders unlabelled images by what their labels would teach a head.

    Args:
        features: (n, d) float32 of the labelled images.
        labels: (n,) integers, of at least two classes.
        unlabelled: (m, d) float32 of the others.
        count: the number of groups.

    Returns:
        The images of all groups, at most `POOL` times as many as groups.

    Example:
        >>> features = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
        >>> others = np.array([[1, 0], [0.5, 0.5], [0.45, 0.5], [0, 1]], np.float32)
        >>> labelling_order(features, np.repeat([0, 1], 4), others, 1).rows
        array([1, 2, 0, 3])
    """
    with limited_blas():
        probabilities, classes = _probabilities(features, labels, unlabelled)
        top = np.sort(probabilities, axis=1)[:, -2:]
        margins = top[:, 1] - top[:, 0]
        pool = np.argsort(margins, kind="stable")[: POOL * count]
        members = centre_groups(STEPS.rows(unlabelled[pool]), count)
    first = np.zeros(len(pool), bool)
    first[np.unique(members, return_index=True)[1]] = True  # of each group the most uncertain image
    order = np.argsort(~first, kind="stable")
    numbers = np.empty(members.max() + 1, np.int64)
    numbers[members[order][: first.sum()]] = np.arange(1, first.sum() + 1)
    rows = pool[order]
    return LabellingOrder(rows, margins[rows], classes[probabilities[rows].argmax(axis=1)], numbers[members[order]])


def centre_groups(features: np.ndarray, count: int) -> np.ndarray:
    """Returns the group of each image, (n,) int64: the nearest of `count` centres, which are far from each other.

    The first image is the first centre; each further one is the image that is farthest from all centres so far. Images
    that equal a centre are of its group, so that there are fewer groups than `count` if few images differ.

    Args:
        features: (n, d).
        count: the number of centres.
    """
    inputs = np.asarray(features, np.float64)
    nearest, members, centre = np.full(len(inputs), np.inf), np.zeros(len(inputs), np.int64), 0
    for number in range(min(count, len(inputs))):
        distances = distances_of(inputs, inputs[[centre]])[:, 0]
        distances[centre] = 0
        closer = distances < nearest
        nearest[closer], members[closer] = distances[closer], number
        centre = int(nearest.argmax())
        if nearest[centre] < 1e-9:  # noqa: PLR2004 - equal, up to rounding errors
            break
    return members


def _probabilities(features: np.ndarray, labels: np.ndarray, unlabelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities (m, classes) of unlabelled images, calibrated without them, and the classes."""
    classes, positions = np.unique(labels, return_inverse=True)
    inputs = STEPS.rows(features)
    distances, gamma = rbf_distances(inputs)
    fitted = kernel_left_out(np.exp(-gamma * distances), positions, len(classes))
    temperature = calibrated(fitted.logits, positions)[2]
    probabilities = np.empty((len(unlabelled), len(classes)))
    for rows in row_blocks(len(unlabelled), len(inputs)):
        others = np.asarray(STEPS.rows(unlabelled[rows]), np.float64)
        logits = fitted.predict(np.exp(-gamma * distances_of(others, np.asarray(inputs, np.float64)))) / temperature
        logits -= logits.max(axis=1, keepdims=True)
        probabilities[rows] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, classes
