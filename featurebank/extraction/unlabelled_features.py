"""The features of unlabelled images, which have a bank of their own for each tap."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.dataset.splits import UNLABELLED
from featurebank.errors import BankDamagedError, BankReadOnlyError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.stage import extract_rows
from featurebank.system.progress import SILENT, Reporter


def unlabelled_name(tap: str) -> str:
    """Returns the dataset name of a tap's bank of unlabelled images; other taps may have other images.

    Example:
        >>> unlabelled_name("block2b_add:max")
        'unlabelled-block2b-add-max'
    """
    return f"{UNLABELLED}-{re.sub(r'[^a-z0-9]+', '-', tap.lower()).strip('-')}"


def image_features(
    images: Dataset, backbone: Backbone, options: ExtractOptions, *, cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> np.ndarray:  # fmt: skip
    """Returns the features of images, (n, ...) float32, computing those that their bank lacks.

    Args:
        images: a dataset without labels, with the name of `unlabelled_name`.
        backbone: the network.
        options: the options of the extraction, with one tap.
        cache: directory of the banks.
        reporter: receives the progress.

    Raises:
        DatasetError: an image cannot be read.
        BankError: the bank cannot be read or written.
    """
    bank, positions = _extracted(images, backbone, options, cache, reporter)
    return bank.rows(options.taps[0], positions)


def _extracted(
    images: Dataset, backbone: Backbone, options: ExtractOptions, cache: str | Path | None, reporter: Reporter
) -> tuple[Bank, list[int]]:
    """Extracts images, and returns their bank and their positions in it."""
    bank = extract_rows(images, backbone, options, cache=cache, reporter=reporter)
    places = {digest: place for place, digest in enumerate(bank.digests().tolist())}
    try:
        return bank, [places[digest] for digest in images.digests.tolist()]
    except KeyError as error:  # another process removed the bank meanwhile
        message = f"'{bank.path}' changed while it was read: run it again"
        raise BankDamagedError(message) from error


def features_like(
    bank: Bank, tap: str, images: Dataset, *, batch_size: int = 32, reporter: Reporter = SILENT
) -> np.ndarray:
    """Returns the features of images at a tap, (n, ...) float32, computed like those of a bank.

    Args:
        bank, images, batch_size, reporter: see `taps_like`, also for errors.
        tap: one of the bank's taps.
    """
    return taps_like(bank, [tap], images, batch_size=batch_size, reporter=reporter)[0]


def taps_like(
    bank: Bank, taps: Sequence[str], images: Dataset, *, batch_size: int = 32, reporter: Reporter = SILENT
) -> list[np.ndarray]:
    """Returns the features of images at several taps, (n, ...) float32 each, from one pass of the network.

    They are stored beside the bank, or nowhere if its directory is not writable.

    Args:
        bank: the bank whose network, preprocessing, resize rule and precision are used.
        taps: taps of the bank, of one dtype.
        images: a dataset without labels, with the name of `unlabelled_name`.
        batch_size: the number of images per batch.
        reporter: receives the progress.

    Raises:
        DatasetError: an image cannot be read.
        WeightsError: the network of the bank cannot be loaded again.
        BankError: the bank cannot be read or written.
    """
    backbone = load_recorded(bank.recipe, bank.manifest.source)
    options = ExtractOptions(
        taps=list(taps), batch_size=batch_size, store=cast("Any", bank.tap_dtype(taps[0])), on_bad_image="fail",
        wait=True, precision=bank.recipe.get("precision", "float32"),
    )  # fmt: skip

    def compute(cache: str | Path) -> list[np.ndarray]:
        found, positions = _extracted(images, backbone, options, cache, reporter)
        return [found.rows(tap, positions) for tap in taps]

    try:
        return compute(bank.path.parent)
    except BankReadOnlyError:
        with tempfile.TemporaryDirectory() as place:
            return compute(place)
