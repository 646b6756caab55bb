"""Stage: recomputes a few rows of a bank from their images, and compares them with the stored rows.

Checksums prove that a bank's bytes are those that were written. Recomputed rows ("canaries") prove that they still
match the images and the network: that no library has changed its arithmetic, that the weights are the same, and that
rows belong to their images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurebank.augment import Augmentation, augment
from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.engine.catalog import load_engine
from featurebank.errors import FeatureBankError
from featurebank.extraction.source_images import source_dataset, unchanged
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

TOLERANCE = {"float32": 1e-3, "float16": 4e-3}
"""Largest allowed difference, relative to a row's largest feature; engines and machines differ by less."""


@dataclass(frozen=True)
class RecomputedRows:
    """The result of recomputing some rows."""

    rows: int
    """Number of rows that were computed and compared."""
    difference: float
    """The largest difference, relative to the largest feature of its row."""
    wrong: tuple[str, ...] = ()
    """One line for each row that differs by more than `TOLERANCE`."""
    reason: str | None = None
    """Why no or fewer rows could be computed."""


def check_recomputed_rows(
    bank: Bank, *, rows: int = 4, seed: int = 0, backbone: Backbone | None = None, reporter: Reporter = SILENT
) -> RecomputedRows:
    """Recomputes some rows of a bank, in every tap and view, and compares them with the stored rows.

    Args:
        bank: the bank.
        rows: number of images.
        seed: seed of the choice of images.
        backbone: the network of the bank. It is needed for a model in memory or a function of the user, because a bank
            must not decide which code runs.
        reporter: receives the progress.

    Returns:
        The result; missing images, weights or datasets are a `reason`, not an error.

    Example:
        >>> check_recomputed_rows(fb.extract("photos", "my_networks:small"), rows=2).wrong
        ()
    """
    try:
        backbone = load_recorded(bank.recipe, bank.manifest.source, backbone=backbone)
        dataset = source_dataset(bank)
        places = unchanged(bank, dataset, rows, seed)
        images = [backbone.resize(dataset.image(index, backbone.levels)) for _, index in places]
    except (FeatureBankError, OSError) as error:
        return RecomputedRows(0, 0.0, reason=" ".join(str(error).split()))
    if not places:
        return RecomputedRows(
            0, 0.0, reason=f"no image of '{dataset.spec}' has the content that the bank was computed from"
        )
    reporter.say(f"loading {backbone.name} (weights {backbone.weights}) to recompute {counted(len(places), 'row')}")
    with reporter.step(f"recomputing {counted(len(places), 'row')}"):
        return _compare(bank, backbone, [position for position, _ in places], np.stack(images))


def _compare(bank: Bank, backbone: Backbone, positions: list[int], images: np.ndarray) -> RecomputedRows:
    engine = load_engine(
        "auto", backbone, bank.taps, batch_size=len(images), precision=bank.recipe["precision"], cache=bank.path.parent
    )
    digests = bank.digests()[positions]
    augmentation = Augmentation.parse(bank.recipe["views"]["augment"]) if bank.views else None
    worst, wrong = 0.0, []
    for view in range(bank.views + 1):
        shown = augment(images, augmentation, digests, view) if augmentation and view else images
        for tap, now in engine(shown).items():
            stored = bank.rows(tap, positions, view=view)
            scale = np.maximum(np.abs(stored).reshape(len(stored), -1).max(axis=1), np.finfo(np.float32).tiny)
            differences = np.abs(now - stored).reshape(len(stored), -1).max(axis=1) / scale
            worst = max(worst, float(differences.max()))
            limit = TOLERANCE[bank.tap_dtype(tap)]
            for place in np.flatnonzero(~(differences <= limit)).tolist():
                name = bank.ids()[positions[place]]
                wrong.append(
                    f"tap '{tap}' of '{name}' (view {view}) does not match the network's output now: it differs by "
                    f"{differences[place]:.2g} of its largest feature, expected at most {limit:g}"
                )
    return RecomputedRows(len(positions), worst, tuple(wrong))
