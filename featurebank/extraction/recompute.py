"""Stage: a few rows of a bank, computed anew from their images and compared with what is stored.

Checksums tell that a bank's bytes are those that were written. Canaries tell that they still are what the images and
the network give: that no library has changed its arithmetic, that the weights are the same, that rows belong to their
images.
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
from featurebank.extraction.source_images import original_dataset, unchanged
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

TOLERANCE = {"float32": 1e-3, "float16": 4e-3}
"""The largest difference allowed, relative to the largest feature of the row: engines and machines differ by less."""


@dataclass(frozen=True)
class Canaries:
    """What recomputing some rows has shown."""

    rows: int
    """How many were computed and compared."""
    difference: float
    """The largest difference, relative to the largest feature of its row."""
    wrong: tuple[str, ...] = ()
    """One line for each row that differs by more than `TOLERANCE`."""
    reason: str | None = None
    """Why none or fewer could be computed."""


def check_canaries(
    bank: Bank, *, rows: int = 4, seed: int = 0, backbone: Backbone | None = None, reporter: Reporter = SILENT
) -> Canaries:
    """Computes some rows of a bank anew, in every tap and view, and compares them with what is stored.

    Args:
        bank: the bank.
        rows: how many images.
        seed: of their choice.
        backbone: the network that the bank was made by; needed where it is a model in memory or a function of the
            user's, since no bank may say which code is to be run.
        reporter: where progress is shown.

    Returns:
        What it has shown; images, weights or a dataset that are no longer there are a reason, no error.
    """
    try:
        backbone = load_recorded(bank.recipe, bank.manifest.source, given=backbone)
        dataset = original_dataset(bank)
        places = unchanged(bank, dataset, rows, seed)
        images = [backbone.resize(dataset.image(index, backbone.levels)) for _, index in places]
    except (FeatureBankError, OSError) as error:
        return Canaries(0, 0.0, reason=" ".join(str(error).split()))
    if not places:
        return Canaries(0, 0.0, reason=f"none of the images of '{dataset.spec}' are those of the bank any more")
    reporter.say(f"loading {backbone.name} (weights {backbone.weights}) to compute {counted(len(places), 'row')} anew")
    with reporter.step(f"computing {counted(len(places), 'row')} anew"):
        return _compare(bank, backbone, [position for position, _ in places], np.stack(images))


def _compare(bank: Bank, backbone: Backbone, positions: list[int], images: np.ndarray) -> Canaries:
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
                    f"tap '{tap}' of '{name}' (view {view}) is not what the network gives now: it differs by "
                    f"{differences[place]:.2g} of its largest feature, expected at most {limit:g}"
                )
    return Canaries(len(positions), worst, tuple(wrong))
