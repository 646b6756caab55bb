"""The probabilities of a run for the images of one split of its bank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.errors import ConfigError, DatasetError
from featurebank.extraction.source_images import SourceImages
from featurebank.fitting.data import load_features
from featurebank.fitting.folds import Fold, fold_positions
from featurebank.fitting.joined.rows import feature_rows
from featurebank.fitting.scoring import align
from featurebank.heads.streamed.predictions import probabilities
from featurebank.runs.finetuned import BATCH, finetuned_model, is_finetuned, predict_batch
from featurebank.runs.refitting import check_belongs, trained_head
from featurebank.runs.run import RunRecord
from featurebank.system.progress import SILENT, Reporter


def load_fitted(bank: Bank, run: RunRecord, *, reporter: Reporter = SILENT) -> Any:
    """Returns what answers for a run: its head, or the Keras model of a fine-tune.

    Raises:
        HeadError: see `trained_head` and `finetuned_model`.
    """
    if is_finetuned(run):
        check_belongs(bank, run)
        return finetuned_model(run)
    return trained_head(bank, run, reporter=reporter)


def positions_of(bank: Bank, run: RunRecord, split: str) -> np.ndarray:
    """Returns the positions in `bank.ids()` of the images of a split, (n,) int64.

    Of a cross-validated run, "val" is its fold and "train" the other folds.

    Raises:
        UnknownNameError: there is no such split.
        DatasetError: the bank has no images in it.
    """
    if run.fold and split in {"train", "val"}:
        return fold_positions(bank, Fold(*run.fold), inside=split == "val")
    if not len(bank.labels(split)):
        message = (
            f"'{bank.name}' has no image in the split '{split}': extract again with another split, as "
            "split=(.7, .15, .15)"
        )
        raise DatasetError(message)
    return np.flatnonzero(bank.splits() == split)


def check_opened(run: RunRecord, split: str) -> None:
    """Raises ConfigError for the test split of a run that was not tested: only `evaluate_test` opens it."""
    if split == "test" and "test" not in run.metrics:
        message = (
            f"the test images are closed for run {run.run}: choose a run by its validation results, then open them "
            "for it alone with tested = featurebank.evaluate_test(bank, run), whose predictions('test') are allowed"
        )
        raise ConfigError(message)


def predictor(
    bank: Bank, run: RunRecord, split: str, fitted: Any, *, reporter: Reporter = SILENT
) -> Callable[[], np.ndarray]:
    """Returns a function that computes the probabilities of a run for a split: (n, classes) float64.

    They are in the order of `positions_of`. A head reads its features only when the function is called; the images of a
    fine-tune are read and compared with the bank before.

    Args:
        bank: the bank that the run was trained on.
        run: the run.
        split: "train", "val" or "test".
        fitted: the result of `load_fitted`; of a cross-validated run, of `refitted_head`.
        reporter: shows the progress of reading images.

    Raises:
        DatasetError: of a fine-tune, images have gone or changed.
    """
    if is_finetuned(run):
        images = SourceImages(bank, [split], reporter=reporter)
        starts = range(0, len(images), BATCH)
        return lambda: np.concatenate(
            [predict_batch(fitted, images.read(np.arange(start, min(start + BATCH, len(images))))) for start in starts]
        )
    return lambda: _of_head(bank, run, split, fitted)


def _of_head(bank: Bank, run: RunRecord, split: str, head: Any) -> np.ndarray:
    positions, rows = positions_of(bank, run, split), feature_rows(bank, run.tap, head, run.joined)
    X, y = load_features(rows, run.tap, positions)[0], bank.labels()[positions]
    of_validation = split == "val" and head.saw_validation  # as its metrics were computed
    found = head.predict_validation(X, y) if of_validation else probabilities(head, X)
    return align(found, head.classes_, len(bank.classes))
