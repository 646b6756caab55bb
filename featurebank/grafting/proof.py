"""The proof of a graft: on images of the bank, the model says what the head says of their stored features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import DatasetError, FeatureBankError, HeadError
from featurebank.grafting.about import Proof
from featurebank.originals import original_dataset, unchanged

IMAGES = 16
TOLERANCE = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.2}
"""The largest difference of a probability, by the type that features are stored or were computed in.

float32 leaves room for the order of sums alone, which each engine has its own. float16 rounds each feature by 5e-4 of
it, and bfloat16 all arithmetic of the network by 4e-3; how much of that a head makes visible is the head's."""

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """Images of a bank with their stored features."""

    images: np.ndarray
    """(n, s, s, 3) uint8, at the network's size."""
    features: np.ndarray
    """(n, ...) float32."""
    ids: tuple[str, ...]


def sample_of(bank: Bank, tap: str, backbone: Backbone) -> Sample:
    """Reads some images of a bank again, and their features; none of the test split.

    Raises:
        DatasetError: they are not there any more, or not as they were.
    """
    try:
        dataset = original_dataset(bank)
        places = unchanged(bank, dataset, IMAGES, without="test")
        images = [backbone.resize(dataset.image(index)) for _, index in places]
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


def tolerance_of(bank: Bank, tap: str) -> float:
    """Returns how far the probabilities of a graft on a bank's tap may be from the head's."""
    return max(TOLERANCE[bank.tap_dtype(tap)], TOLERANCE[bank.recipe["precision"]])


def prove(
    bank: Bank, tap: str, head: Any, sample: Sample, *, whole: Predict, layers: Predict | None = None
) -> tuple[Proof, np.ndarray]:
    """Compares a graft with its head.

    Args:
        bank: that the head was trained on.
        tap: that the head was trained on.
        head: fitted.
        sample: what `sample_of` gave.
        whole: images -> probabilities of all classes.
        layers: features -> probabilities of all classes; None where the head is no stack of layers.

    Returns:
        The proof, and what the graft says of the images.

    Raises:
        HeadError: they differ by more than the tolerance.
    """
    from featurebank.heads.scoring import align  # imports scikit-learn

    expected = align(head.predict_proba(sample.features), head.classes_, len(bank.classes))
    found = whole(sample.images)
    of_layers = None
    if layers is not None:
        of_layers = float(np.abs(layers(sample.features) - expected).max())
        _refuse(of_layers, TOLERANCE["float32"], "as layers the head gives other probabilities for stored features")
    apart = np.abs(found - expected)
    worst = sample.ids[int(apart.max(axis=1).argmax())]
    what = f"the grafted model gives other probabilities for '{worst}' than the head for its stored features"
    tolerance = tolerance_of(bank, tap)
    _refuse(float(apart.max()), tolerance, what)
    return Proof(len(found), float(apart.max()), tolerance, of_layers), found


def _refuse(difference: float, tolerance: float, what: str) -> None:
    if not difference <= tolerance:
        message = (
            f"{what}: they differ by {difference:.2g}, expected at most {tolerance:g}; look at the bank with "
            "'featurebank cache verify --canaries 8', or go on without the proof with --no-proof (proof=False)"
        )
        raise HeadError(message)
