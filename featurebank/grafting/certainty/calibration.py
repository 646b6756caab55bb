"""Gathers what a model file stores about its doubts, from the validation and training images of a run's bank."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from featurebank.backbone.resize import resize_image
from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.certainty.likeness import Likeness
from featurebank.certainty.record import Certainty
from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import parse_levels
from featurebank.errors import DatasetError, FeatureBankError, HeadWarning
from featurebank.extraction.source_images import source_dataset, unchanged
from featurebank.fitting.weights import training_images
from featurebank.grafting.certainty.embedding import averaged, last_input, outputs_of, with_embedding
from featurebank.runs.doubts import groups_at
from featurebank.runs.run import RunRecord, load_runs
from featurebank.system.parallel import ordered_map
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, one_line

TRAINING, VALIDATION = 10_000, 20_000
"""The number of images that are enough; of more, a random sample is taken."""
READ = {"val": 2000, "train": 1000}
"""The number of images of a fine-tune, which are read and run through its network."""
_BLOCK, _BATCH = 512, 32


def calibrated(
    bank: Bank, run: RunRecord, fitted: Any, *, operation: str = "", reporter: Reporter = SILENT
) -> Certainty | None:
    """Returns what a run's model needs to be able to say "not sure".

    Args:
        bank: the bank that the run was trained on.
        run: the run.
        fitted: its head, or the Keras model of a fine-tune.
        operation: of the graft; see `Certainty.operation`. That of a fine-tune is found here.
        reporter: shows the progress, and receives the reason if there is nothing.

    Returns:
        The record; None if there are no validation images, or those of a fine-tune cannot be read again.
    """
    without = "so the model cannot say when it is not sure (predict --coverage, --abstain-at-error)"
    positions = _sample(positions_in(bank, "val"), VALIDATION)
    if not len(positions):
        reporter.warn(f"'{bank.name}' has no validation images, {without}", HeadWarning)
        return None
    if not run.is_finetune:
        with reporter.step(f"measuring the doubts of the head on {counted(len(positions), 'validation image')}"):
            return _of_head(bank, run, fitted, positions, operation)
    try:
        return _of_finetune(bank, run, fitted, reporter)
    except (FeatureBankError, OSError) as error:
        reporter.warn(f"{one_line(error)}, {without}", HeadWarning)
        return None


def uses_of(bank: Bank, run: RunRecord, fitted: Any) -> tuple[str, ...]:
    """Returns what the validation images of a run were used for, beside its metrics; see `Certainty.uses`."""
    runs = len(load_runs(bank))
    return (
        *([f"to choose among {counted(runs, 'run')}"] if runs > 1 else []),
        *(["to decide when its training stops"] if run.history is not None or run.is_finetune else []),
        *(["to fit its temperature (each half here has that of the other)"] if _saw(run, fitted) else []),
    )


def _saw(run: RunRecord, fitted: Any) -> bool:
    return not run.is_finetune and bool(fitted.saw_validation)


def validation_probabilities(bank: Bank, run: RunRecord, head: Any, positions: np.ndarray) -> np.ndarray:
    """Returns what a head predicts for validation images, as of images that it was not fitted on: (n, classes).

    Args:
        bank: the bank.
        run: the run of the head.
        head: the fitted head.
        positions: (n,) positions in `Bank.ids()`, of the split "val".
    """
    from featurebank.fitting.data import load_features
    from featurebank.fitting.joined.rows import feature_rows
    from featurebank.fitting.scoring import align
    from featurebank.heads.streamed.predictions import probabilities

    features, _ = load_features(feature_rows(bank, run.tap, head, run.joined), run.tap, positions)
    saw = head.saw_validation
    found = head.predict_validation(features, bank.labels()[positions]) if saw else probabilities(head, features)
    return align(found, head.classes_, len(bank.classes))


def _of_head(bank: Bank, run: RunRecord, head: Any, positions: np.ndarray, operation: str) -> Certainty:
    train = _sample(training_images(bank, positions_in(bank, "train"), run.sample).positions, TRAINING)
    labels, groups = bank.labels(), groups_at(bank, positions)
    rows = [_vectors(bank, run, head, places) for places in (train, positions)]
    likeness = Likeness.of(rows[0], labels[train], rows[1], groups)
    return Certainty.of(
        validation_probabilities(bank, run, head, positions), labels[positions], groups=groups, likeness=likeness,
        operation=operation, uses=uses_of(bank, run, head),
    )  # fmt: skip


def _vectors(bank: Bank, run: RunRecord, head: Any, positions: np.ndarray) -> np.ndarray:
    """Returns the features of images, averaged over places, (n, d) float32; reads them in blocks."""
    from featurebank.fitting.joined.rows import feature_rows

    source, starts = feature_rows(bank, run.tap, head, run.joined), range(0, len(positions), _BLOCK)
    blocks = (source.rows(run.tap, positions[start : start + _BLOCK]) for start in starts)
    return np.concatenate([averaged(np.asarray(block)) for block in blocks])


def _of_finetune(bank: Bank, run: RunRecord, model: Any, reporter: Reporter) -> Certainty:
    operation = last_input(model)
    both = with_embedding(model, operation) if operation else model
    dataset, labels, rows = source_dataset(bank), bank.labels(), {}
    for split, most in READ.items():
        pairs = unchanged(bank, dataset, most, splits=[split])
        if not pairs:
            message = f"no {split} image of '{dataset.spec}' is still that of the bank"
            raise DatasetError(message)
        positions = np.array([position for position, _ in pairs])
        outputs = _run_images(both, bank, dataset, [index for _, index in pairs], reporter)
        rows[split] = positions, *outputs
    (val, probabilities, embedding), (train, _, trained) = rows["val"], rows["train"]
    groups = groups_at(bank, val)
    likeness = None
    if trained is not None and embedding is not None:
        likeness = Likeness.of(trained, labels[train], embedding, groups)
    return Certainty.of(
        probabilities, labels[val], groups=groups, likeness=likeness, operation=operation,
        uses=uses_of(bank, run, model),
    )  # fmt: skip


def _run_images(
    model: Any, bank: Bank, dataset: Any, indices: Sequence[int], reporter: Reporter
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns probabilities, (n, classes) float64, and features, (n, d) float32, of images that are read again."""
    size, rule = int(bank.recipe["image_size"]), str(bank.recipe["resize"])
    levels = parse_levels(bank.recipe.get("levels"))

    def opened(index: int) -> np.ndarray:
        with in_flight():
            return resize_image(dataset.image(index, levels), size, rule)

    images, parts = ordered_map(opened, indices, name="doubts", ahead=_BATCH), []
    with reporter.track("measuring the doubts of the model", len(indices), "images") as advance:
        while batch := list(islice(images, _BATCH)):
            parts.append(outputs_of(model.predict_on_batch(np.stack(batch).astype(np.float32))))
            advance(len(batch))
    probabilities = np.concatenate([part.probabilities for part in parts]).astype(np.float64)
    embeddings = [part.embedding for part in parts if part.embedding is not None]
    return probabilities, np.concatenate(embeddings) if embeddings else None


def _sample(positions: np.ndarray, most: int) -> np.ndarray:
    """Returns at most so many of the positions, in their order."""
    if len(positions) <= most:
        return positions
    return np.sort(np.random.default_rng(0).permutation(positions)[:most])
