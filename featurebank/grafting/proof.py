"""The proof of a graft: on images of the bank, the model must predict what the head predicts from stored features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import DatasetError, FeatureBankError, HeadError
from featurebank.extraction.source_images import source_dataset, unchanged
from featurebank.fitting.joined.rows import FeatureRows, JoinedRows, feature_rows
from featurebank.grafting.metadata import Proof
from featurebank.grafting.several.networks import SeveralNetworks

IMAGES = 16
TOLERANCE = {"float32": 1e-4, "float16": 0.01, "bfloat16": 0.2}
"""Maximum difference of a probability, for each type that features are stored or computed in.

float32 only allows for the order of summation, which differs between engines. float16 rounds each feature to a relative
error of 5e-4, and bfloat16 all arithmetic of the network to 4e-3; heads differ in their sensitivity to that."""
OF_FEATURES = {"float32": 1e-3, "float16": 4e-3, "bfloat16": 0.2}
"""Maximum difference of a feature, relative to the largest feature of its image."""

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """Images of a bank with their stored features."""

    images: np.ndarray
    """(n, s, s, 3) uint8, at the network's size."""
    features: np.ndarray
    """(n, ...) float32."""
    ids: tuple[str, ...]
    types: frozenset[str]
    """The types that the features are stored and computed in."""

    def tolerance(self, limits: Mapping[str, float] = TOLERANCE) -> float:
        """Returns the maximum difference between the probabilities of a graft and of the head."""
        return max(limits[kind] for kind in self.types)


def sample_of(
    bank: Bank, tap: str, backbone: Backbone | SeveralNetworks, splits: Sequence[str],
    recorded: Mapping[str, Any] | None = None,
) -> Sample:  # fmt: skip
    """Reads some source images of a bank again, and their stored features.

    Raises:
        DatasetError: the images no longer exist, or have changed.
    """
    try:
        dataset = source_dataset(bank)
        places = unchanged(bank, dataset, IMAGES, splits=splits)
        images = [backbone.resize(dataset.image(index, backbone.levels)) for _, index in places]
        reason = f"no image of '{dataset.spec}' is still that of the bank"
    except (FeatureBankError, OSError) as error:
        images, reason = [], " ".join(str(error).split())
    if not images:
        message = (
            f"the graft cannot be proved on images of '{bank.name}': {reason}; restore the images, or omit the proof "
            "with --no-proof (proof=False)"
        )
        raise DatasetError(message)
    positions, rows = np.array([position for position, _ in places]), feature_rows(bank, tap, None, recorded)
    ids = bank.ids()
    return Sample(
        np.stack(images), rows.rows(tap, positions), tuple(ids[position] for position in positions.tolist()),
        types_of(rows, tap),
    )  # fmt: skip


def tolerance_of(bank: Bank, tap: str, limits: Mapping[str, float] = TOLERANCE) -> float:
    """Returns the maximum difference between the probabilities of a graft and of the head, for a tap of a bank."""
    return max(limits[kind] for kind in types_of(feature_rows(bank, tap), tap))


def types_of(rows: FeatureRows, tap: str) -> frozenset[str]:
    """Returns the types that the features of a tap are stored and computed in."""
    banks = rows.banks if isinstance(rows, JoinedRows) else [rows]
    return frozenset({rows.tap_dtype(tap), *(bank.recipe["precision"] for bank in banks)})


def prove_layers(bank: Bank, head: Any, sample: Sample, *, whole: Predict, layers: Predict) -> tuple[Proof, np.ndarray]:
    """Compares a Keras model with its head.

    Args:
        bank: the bank that the head was trained on.
        head: the fitted head.
        sample: the result of `sample_of`.
        whole: images -> probabilities of all classes.
        layers: features -> probabilities of all classes.

    Returns:
        The proof, and the model's probabilities for the images.

    Raises:
        HeadError: model and head differ by more than the tolerance.
    """
    expected, actual = _expected(bank, head, sample), whole(sample.images)
    of_layers = float(np.abs(layers(sample.features) - expected).max())
    _refuse(bank, of_layers, TOLERANCE["float32"], "as layers the head returns other probabilities for stored features")
    differences, tolerance = np.abs(actual - expected), sample.tolerance()
    worst = sample.ids[int(differences.max(axis=1).argmax())]
    what = f"the grafted model returns other probabilities for '{worst}' than the head for its stored features"
    _refuse(bank, float(differences.max()), tolerance, what)
    return Proof(len(actual), float(differences.max()), tolerance, layers=of_layers), actual


def prove_joined(bank: Bank, head: Any, sample: Sample, *, whole: Predict, trunk: Predict) -> tuple[Proof, np.ndarray]:
    """Compares a joined model with its head; see `prove_layers`.

    The joined model contains the head itself, so only the features that it receives must agree. If a feature is within
    rounding of a split value, a tree or a vote may decide differently; this is reported, but no error.

    Args:
        bank: see `prove_layers`, also for the other arguments.
        trunk: images -> features.
    """
    expected, actual = _expected(bank, head, sample), whole(sample.images)
    stored = sample.features.reshape(len(actual), -1)
    scale = np.maximum(np.abs(stored).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    differences = np.abs(trunk(sample.images).reshape(stored.shape) - stored) / scale
    worst = sample.ids[int(differences.max(axis=1).argmax())]
    what = f"the network returns other features for '{worst}' than are stored (relative to the largest)"
    _refuse(bank, float(differences.max()), sample.tolerance(OF_FEATURES), what)
    return Proof(
        len(actual), float(np.abs(actual - expected).max()), sample.tolerance(), float(differences.max())
    ), actual


def _expected(bank: Bank, head: Any, sample: Sample) -> np.ndarray:
    from featurebank.fitting.scoring import align  # imports scikit-learn

    return align(head.predict_proba(sample.features), head.classes_, len(bank.classes))


def _refuse(bank: Bank, difference: float, tolerance: float, what: str) -> None:
    if not difference <= tolerance:
        precision = bank.recipe["precision"]
        remedy = (
            "check the bank with 'featurebank cache verify --canaries 8'" if precision == "float32"
            else f"the bank was computed in {precision}, which is too inexact for this head: extract in float32"
        )  # fmt: skip
        message = (
            f"{what}: they differ by {difference:.2g}, expected at most {tolerance:g}; {remedy}, or omit the proof "
            "with --no-proof (proof=False)"
        )
        raise HeadError(message)
