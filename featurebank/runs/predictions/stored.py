"""The file with the validation predictions of a run, from which any metric can be computed later.

It is beside the run's record, sealed with a checksum, and written before the record. Predictions of too many images or
classes are not stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sized
from pathlib import Path

import numpy as np

from featurebank.bank.maintenance.unfinished import PREDICTIONS
from featurebank.metrics import ImageScores
from featurebank.runs.run import RunRecord
from featurebank.system.archive import read_npz
from featurebank.system.files import atomic_path, read_regular
from featurebank.system.sealed_json import is_whole_archive, seal_archive

MOST = 1 << 20
"""Maximum number of stored probabilities of a run, 4 MiB in float32."""
_MOST_BYTES = 16 * MOST
_ROUNDING = 1e-3


def predictions_path(run: RunRecord) -> Path:
    """Returns the path of the file with the predictions of a run."""
    return run.directory / "runs" / f"{run.run}{PREDICTIONS}"


def may_store(images: int, recalls: Sized | None) -> bool:
    """Returns whether the predictions of a run are small enough to store.

    Args:
        images: the number of validation images.
        recalls: the recorded recalls, one for each class; None if they are not recorded.
    """
    return images * len(recalls or ()) <= MOST


def save_predictions(run: RunRecord, images: ImageScores | None) -> None:
    """Writes the validation predictions of a run, unless they are too large.

    Args:
        run: the run.
        images: its validation images; None if they are not known.

    Raises:
        DiskFullError, OSError: the file cannot be written.
    """
    if images is None or images.probabilities is None or images.probabilities.size > MOST:
        return
    with atomic_path(predictions_path(run)) as temporary:
        with temporary.open("wb") as file:
            labels = images.labels.astype(np.min_scalar_type(max(0, images.classes - 1)))
            np.savez(file, probabilities=images.probabilities, labels=labels)
        seal_archive(temporary)


def load_predictions(run: RunRecord) -> ImageScores | None:
    """Returns the validation images as a run predicts them; None if they are not stored, or are damaged."""
    path = predictions_path(run)
    with contextlib.suppress(OSError, ValueError, KeyError):
        if not is_whole_archive(path):
            return None
        arrays = read_npz(read_regular(path, _MOST_BYTES))
        probabilities, labels = arrays["probabilities"], arrays["labels"]
        if _fits(run, probabilities, labels):
            return ImageScores.of(probabilities, labels.astype(np.int64))
    return None


def _fits(run: RunRecord, probabilities: np.ndarray, labels: np.ndarray) -> bool:
    """Returns whether arrays are predictions of the validation images of a run."""
    images = run.metrics.get("val", {}).get("images")
    return bool(
        probabilities.ndim == 2  # noqa: PLR2004 - images and classes
        and probabilities.dtype in {np.dtype(np.float32), np.dtype(np.float64)}
        and labels.dtype.kind in "iu"
        and labels.shape == (images,) == probabilities.shape[:1]
        and ((probabilities >= 0) & (probabilities < 1 + _ROUNDING)).all()
        and ((labels >= 0) & (labels < probabilities.shape[1])).all()
    )
