"""The display of a bank in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featurebank.dataset.display import first_of_each
from featurebank.dataset.pictures import local_paths, thumbnails_of_files
from featurebank.system.backing.directories import find
from featurebank.system.html import CellTable, Pictures, class_bars, picture, render
from featurebank.system.runtime import tidy_bytes
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.bank.reader import Bank


def bank_html(bank: Bank) -> str:
    """Returns the display of a bank: its network, taps and classes, and a training image of each of the first classes.

    No feature is read.
    """
    size = bank.recipe.get("image_size")
    facts = [
        counted(len(bank), "image"), counted(len(bank.classes), "class"),
        f"{bank.recipe['backbone']}{f' at {size} px' if size else ''}",
        *([f"{counted(bank.views, 'augmented view')} of each image"] if bank.views else []),
        *([counted(runs, "run")] if (runs := len(find(bank.path / "runs", "*.json"))) else []),
    ]  # fmt: skip
    warnings = [f"{counted(len(bank.skipped), 'image')} without features, the first is '{bank.skipped[0]['id']}': "
                f"{bank.skipped[0].get('reason', '')}"] if bank.skipped else []  # fmt: skip
    taps = [
        [tap, " x ".join(map(str, bank.tap_shape(tap))), bank.tap_dtype(tap), tidy_bytes(bank.tap_bytes(tap))]
        for tap in bank.taps
    ]
    counts = {split: list(row.values()) for split, row in bank.counts().items()}
    blocks = [
        _pictures(bank), class_bars(bank.classes, counts, "images of each class"),
        CellTable(["tap", "shape", "stored as", "size"], taps),
    ]  # fmt: skip
    return render(f"Bank {bank.name}", facts=facts, warnings=warnings, blocks=blocks)


def _pictures(bank: Bank) -> Pictures | None:
    """Returns a training image of each of the first classes; None if the images are not local files."""
    labels = np.where(bank.splits() == "train", bank.labels(), -1)
    rows = first_of_each(labels, len(bank.classes))
    ids = bank.ids_at(rows)
    paths = local_paths(str(bank.manifest.dataset.get("spec", "")), ids)
    if not any(paths):
        return None
    return Pictures(
        [
            picture(image, bank.classes[int(labels[row])], name)
            for row, name, image in zip(rows, ids, thumbnails_of_files(paths), strict=True)
        ]
    )
