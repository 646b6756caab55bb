"""Heat maps of images of a bank, wherever they need no TensorFlow: what the report shows beside mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.explanation.cam import (
    class_activation_maps,
    dense_grad_cam,
    has_dense_gradients,
    linear_weights,
    positive_part,
)
from featurebank.explanation.computed_maps import maps_of
from featurebank.explanation.subject import Subject
from featurebank.fitting.joined.text import is_joined
from featurebank.runs.run import RunRecord
from featurebank.system.progress import SILENT, Reporter

HeatMap = np.ndarray
"""(h, w) float32 from 0 to 1, over the square input of the network; `overlay.overlaid` lays it over the image."""


def heat_maps(
    bank: Bank, run: RunRecord, positions: Sequence[int] | np.ndarray,
    classes: Sequence[int] | np.ndarray | None = None, *, reporter: Reporter = SILENT,
) -> list[HeatMap | str]:  # fmt: skip
    """Returns heat maps of images of a bank, without TensorFlow: of linear heads, and of MLPs on averages.

    The maps come from the bank; if it lacks them, from a pass of the network, if that starts at once and the images are
    files of this machine. The weights come from the head.

    Args:
        bank: the bank.
        run: a run of the bank.
        positions: (n,) positions in `bank.ids()`.
        classes: (n,) the class to explain for each image, as an index into `bank.classes`; None for the predicted ones.
        reporter: receives a line if the head has to be trained again.

    Returns:
        For each image a heat map, or the reason why there is none: one line for people.

    Raises:
        HeadError: the run failed, was trained on a fold, or belongs to another bank or to another state of it.
    """
    positions = np.asarray(positions, np.int64)
    if run.is_finetune:
        return [_elsewhere(f"run {run.run} is a fine-tune", run)] * len(positions)
    if is_joined(run.tap, bank.taps):
        return [f"run {run.run} sees several parts side by side, of which no single map can be drawn"] * len(positions)
    subject = Subject.of(bank, run, reporter=reporter)
    try:
        weights = linear_weights(subject)
    except HeadError as error:
        weights = None
        if not has_dense_gradients(subject):
            return [_elsewhere(str(error), run)] * len(positions)
    if classes is None:
        classes = subject.probabilities(bank.rows(run.tap, positions)).argmax(axis=1)
    classes = np.asarray(classes, np.int64)
    maps = maps_of(bank, str(subject.map_tap), positions)
    known = np.array([not isinstance(one, str) for one in maps], bool)
    heat = iter(
        _heat(
            subject,
            weights,
            np.stack([one for one in maps if not isinstance(one, str)]),
            positions[known],
            classes[known],
        )
        if known.any()
        else ()
    )
    return [one if isinstance(one, str) else next(heat) for one in maps]


def _heat(
    subject: Subject, weights: np.ndarray | None, maps: np.ndarray, positions: np.ndarray, classes: np.ndarray
) -> list[HeatMap | str]:
    """Returns the heat of maps (n, h, w, c), each for a class of the bank; `weights` of a linear head, else None."""
    names, places = subject.bank.classes, subject.places[classes]
    if weights is None:
        sums = dense_grad_cam(subject, maps, subject.bank.rows(subject.run.tap, positions), places)
    else:
        sums = class_activation_maps(maps, weights, places)
    return [
        _unknown(names[number]) if place < 0 else _nothing(names[number]) if not one.any() else one
        for one, place, number in zip(positive_part(sums), places.tolist(), classes.tolist(), strict=True)
    ]


def _elsewhere(reason: str, run: RunRecord) -> str:
    return f"{reason}: 'featurebank explain {run.run} IMAGE' shows what it relies on"


def _unknown(name: str) -> str:
    return f"class '{name}' has no training images"


def _nothing(name: str) -> str:
    return f"no part of the image speaks for class '{name}'"
