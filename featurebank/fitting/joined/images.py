"""The joined features of new images, computed like those of the banks that a head was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.errors import DatasetError, DatasetWarning
from featurebank.extraction.unlabelled_features import taps_like, unlabelled_name
from featurebank.fitting.joined.parts import TapPart, resolve
from featurebank.fitting.joined.rows import scaling_of
from featurebank.fitting.joined.text import JOIN
from featurebank.system.alike import enumerate_some
from featurebank.system.progress import SILENT, Reporter


def joined_features(
    bank: Bank, tap: str, head: Any, images: Callable[[str], Dataset], columns: Mapping[str, np.ndarray], *,
    recorded: Mapping[str, Any] | None = None, batch_size: int = 32, reporter: Reporter = SILENT,
) -> np.ndarray:  # fmt: skip
    """Returns the features of images at a joined tap, (n, d) float32, as its head takes them.

    Args:
        bank: the bank that the head was trained on.
        tap: the joined tap.
        head: the fitted head.
        images: returns the images as a dataset without labels of a given name.
        columns: (n,) values of columns of metadata.
        recorded: see `featurebank.fitting.joined.parts.resolve`.
        batch_size: the number of images per batch.
        reporter: receives the progress, and a warning about unknown categories.

    Raises:
        DatasetError: an image cannot be read, or a column is missing or has missing values.
        ConfigError, WeightsError: a bank or its network cannot be found again.
    """
    joined, encoding = resolve(bank, tap, recorded), scaling_of(head).encoding
    passes: dict[tuple[str, str], list[TapPart]] = {}
    for part in joined.parts:
        passes.setdefault((part.bank.name, part.bank.tap_dtype(part.tap)), []).append(part)
    encoded = [] if encoding is None else [encoding.encode(_checked(columns, encoding.names))]
    found: dict[TapPart, np.ndarray] = {}
    for parts in passes.values():
        taps = [part.tap for part in parts]
        dataset = images(unlabelled_name(JOIN.join(taps)))
        rows = taps_like(parts[0].bank, taps, dataset, batch_size=batch_size, reporter=reporter)
        found.update(zip(parts, rows, strict=True))
    rows = [*(found[part] for part in joined.parts), *encoded]
    if len({len(part) for part in rows}) > 1:
        message = "the columns do not have one value for each image: pass a table with a row for each image"
        raise DatasetError(message)
    if encoding is not None and (line := encoding.unknown(columns)):
        reporter.warn(line, DatasetWarning)
    return np.concatenate(rows, axis=1)


def _checked(columns: Mapping[str, np.ndarray], names: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """Returns the columns; raises DatasetError if some are missing."""
    if missing := [name for name in names if name not in columns]:
        message = (
            f"the head was trained on the columns {enumerate_some(names)}, and {enumerate_some(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: pass a table with the columns path, {', '.join(names)}, "
            "or a dataset that has them"
        )
        raise DatasetError(message)
    return columns
