"""The features of unlabelled images, which have a bank of their own for each tap."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.dataset.unlabelled import UNLABELLED
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
    bank = extract_rows(images, backbone, options, cache=cache, reporter=reporter)
    places = {digest: place for place, digest in enumerate(bank.digests().tolist())}
    try:
        positions = [places[digest] for digest in images.digests.tolist()]
    except KeyError as error:  # another process removed the bank meanwhile
        message = f"'{bank.path}' changed while it was read: run it again"
        raise BankDamagedError(message) from error
    return bank.rows(options.taps[0], positions)


def features_like(
    bank: Bank, tap: str, images: Dataset, *, batch_size: int = 32, reporter: Reporter = SILENT
) -> np.ndarray:
    """Returns the features of images, (n, ...) float32, computed like those of a bank.

    They are stored beside the bank, or nowhere if its directory is not writable.

    Args:
        bank: the bank whose network, preprocessing, resize rule and precision are used.
        tap: one of its taps.
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
        taps=[tap], batch_size=batch_size, store=cast("Any", bank.tap_dtype(tap)), on_bad_image="fail",
        wait=True, precision=bank.recipe.get("precision", "float32"),
    )  # fmt: skip
    compute = functools.partial(image_features, images, backbone, options, reporter=reporter)
    try:
        return compute(cache=bank.path.parent)
    except BankReadOnlyError:
        with tempfile.TemporaryDirectory() as place:
            return compute(cache=place)
