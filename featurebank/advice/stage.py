"""Stage: a bank, and perhaps images without labels -> advice on the data.

The labels of test images are never examined, because whoever corrects them would adapt the test to the features.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from featurebank.advice.examined import examined_images
from featurebank.advice.findings import (
    find_conflicts,
    find_doubts,
    find_forecasts,
    find_outliers,
)
from featurebank.advice.queue import label_next
from featurebank.advice.result import Advice
from featurebank.advice.wording import conflicts, labels, mixed, more_images, of_classes, outlying, to_label
from featurebank.bank import Bank
from featurebank.similarity.queries import Queries
from featurebank.system.options import StageOptions
from featurebank.system.progress import SILENT, Reporter


@dataclass(frozen=True, kw_only=True)
class AdviseOptions(StageOptions):
    """What is examined; see `featurebank.advise`.

    Example:
        >>> AdviseOptions(top=0)
        Traceback (most recent call last):
        featurebank.system.options.OptionsError: top is 0: expected a whole number of 1 or more
    """

    tap: str | None = None
    top: Annotated[int, Ge(1)] | None = None
    """List so many images with the least probable labels, doubted or not; by default only the doubted ones."""
    label: Annotated[int, Ge(1)] = 50
    """The number of groups of images to label next."""


def run_advice(
    bank: Bank, options: AdviseOptions, *, unlabelled: Queries | None = None, reporter: Reporter = SILENT
) -> Advice:
    """Examines a bank; see `featurebank.advise`.

    Raises:
        ConfigError: the bank has no images or no tap of vectors, or too few labelled images.
        DatasetError: there is no unlabelled image, or one has changed meanwhile.
        BankError: the bank cannot be read.
    """
    began = time.perf_counter()
    images = examined_images(bank, options.tap, reporter)
    doubts = find_doubts(images, options.top)
    pairs = find_conflicts(images)
    far = find_outliers(images)
    curve, forecasts, of_each_class = find_forecasts(images)
    labelling = label_next(images, unlabelled, options.label)
    trusted = doubts.confusions if doubts.accuracy is not None else ()
    sentences = [
        None if doubts.accuracy is None else labels(doubts.doubted, doubts.images),
        conflicts(pairs.total, pairs.equal, capped=pairs.capped),
        *mixed(trusted),
        more_images(curve, forecasts),
        of_classes(of_each_class),
        outlying(len(far), len(images.labels)),
        to_label(labelling),
    ]
    return Advice(
        bank, images.tap, doubts.images, doubts.accuracy, tuple(line for line in sentences if line),
        tuple(images.notes), doubts.errors, pairs.conflicts, far, doubts.confusions, curve, forecasts, of_each_class,
        labelling, time.perf_counter() - began,
    )  # fmt: skip
