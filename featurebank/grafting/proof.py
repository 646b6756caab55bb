"""The proof of a graft: on images of the bank, the model says what the head says of their stored features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import DatasetError, FeatureBankError, HeadError
from featurebank.extraction.source_images import original_dataset, unchanged
from featurebank.grafting.metadata import Proof

IMAGES = 16
TOLERANCE = {"float32": 1e-4, "float16": 0.01, "bfloat16": 0.2}
"""The largest difference of a probability, by the type that features are stored or were computed in.

float32 leaves room for the order of sums alone, which each engine has its own. float16 rounds each feature by 5e-4 of
it, and bfloat16 all arithmetic of the network by 4e-3; how much of that a head makes visible is the head's."""
OF_FEATURES = {"float32": 1e-3, "float16": 4e-3, "bfloat16": 0.2}
"""The largest difference of a feature, relative to the largest of its image."""

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """Images of a bank with their stored features."""

    images: np.ndarray
    """(n, s, s, 3) uint8, at the network's size."""
    features: np.ndarray
    """(n, ...) float32."""
    ids: tuple[str, ...]


def sample_of(bank: Bank, tap: str, backbone: Backbone, splits: Sequence[str]) -> Sample:
    """Reads some images of a bank again, and their features.

    Raises:
        DatasetError: they are not there any more, or not as they were.
    """
    try:
        dataset = original_dataset(bank)
        places = unchanged(bank, dataset, IMAGES, splits=splits)
        images = [backbone.resize(dataset.image(index, backbone.levels)) for _, index in places]
        reason = f"none of the images of '{dataset.spec}' are those of the bank any more"
    except (FeatureBankError, OSError) as error:
        images, reason = [], " ".join(str(error).split())
    if not images:
        message = (
            f"the graft cannot be proved on images of '{bank.name}': {reason}; bring them back, or go on without the "
            "proof with --no-proof (proof=False)"
        )
        raise DatasetError(message)
    positions = [position for position, _ in places]
    ids = bank.ids()
    return Sample(np.stack(images), bank.rows(tap, positions), tuple(ids[position] for position in positions))


def tolerance_of(bank: Bank, tap: str, limits: Mapping[str, float] = TOLERANCE) -> float:
    """Returns how far the probabilities of a graft on a bank's tap may be from the head's."""
    return max(limits[bank.tap_dtype(tap)], limits[bank.recipe["precision"]])


def prove_layers(
    bank: Bank, tap: str, head: Any, sample: Sample, *, whole: Predict, layers: Predict
) -> tuple[Proof, np.ndarray]:
    """Compares a Keras model with its head.

    Args:
        bank: that the head was trained on.
        tap: that the head was trained on.
        head: fitted.
        sample: what `sample_of` gave.
        whole: images -> probabilities of all classes.
        layers: features -> probabilities of all classes.

    Returns:
        The proof, and what the model says of the images.

    Raises:
        HeadError: they differ by more than the tolerance.
    """
    expected, found = _expected(bank, head, sample), whole(sample.images)
    of_layers = float(np.abs(layers(sample.features) - expected).max())
    _refuse(bank, of_layers, TOLERANCE["float32"], "as layers the head gives other probabilities for stored features")
    apart, tolerance = np.abs(found - expected), tolerance_of(bank, tap)
    worst = sample.ids[int(apart.max(axis=1).argmax())]
    what = f"the grafted model gives other probabilities for '{worst}' than the head for its stored features"
    _refuse(bank, float(apart.max()), tolerance, what)
    return Proof(len(found), float(apart.max()), tolerance, layers=of_layers), found


def prove_joined(
    bank: Bank, tap: str, head: Any, sample: Sample, *, whole: Predict, trunk: Predict
) -> tuple[Proof, np.ndarray]:
    """Compares a joined model with its head; see `prove_layers`.

    The head is used as it is, so what has to be the same is what it gets: the features. A tree or a vote may decide
    otherwise where a feature lies within a rounding of the value that it splits at. That is told, and no error.

    Args:
        bank: see `prove_layers`, as for the others.
        trunk: images -> features.
    """
    expected, found = _expected(bank, head, sample), whole(sample.images)
    stored = sample.features.reshape(len(found), -1)
    scale = np.maximum(np.abs(stored).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    apart = np.abs(trunk(sample.images).reshape(stored.shape) - stored) / scale
    worst = sample.ids[int(apart.max(axis=1).argmax())]
    what = f"the network gives other features for '{worst}' than are stored (relative to the largest)"
    _refuse(bank, float(apart.max()), tolerance_of(bank, tap, OF_FEATURES), what)
    return Proof(len(found), float(np.abs(found - expected).max()), tolerance_of(bank, tap), float(apart.max())), found


def _expected(bank: Bank, head: Any, sample: Sample) -> np.ndarray:
    from featurebank.fitting.scoring import align  # imports scikit-learn

    return align(head.predict_proba(sample.features), head.classes_, len(bank.classes))


def _refuse(bank: Bank, difference: float, tolerance: float, what: str) -> None:
    if not difference <= tolerance:
        precision = bank.recipe["precision"]
        remedy = (
            "look at the bank with 'featurebank cache verify --canaries 8'" if precision == "float32"
            else f"the bank was computed in {precision}, which this head does not bear: extract in float32"
        )  # fmt: skip
        message = (
            f"{what}: they differ by {difference:.2g}, expected at most {tolerance:g}; {remedy}, or go on without the "
            "proof with --no-proof (proof=False)"
        )
        raise HeadError(message)
