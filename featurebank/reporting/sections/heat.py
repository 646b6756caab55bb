"""Heat maps beside the most confident mistakes, where they cost little: see `explanation.heat_maps`."""

from __future__ import annotations

import numpy as np
from PIL import Image

from featurebank.dataset.pictures import SIDE, PictureSource
from featurebank.errors import FeatureBankError
from featurebank.explanation.computed_maps import WHOLE
from featurebank.explanation.heat_maps import heat_maps
from featurebank.explanation.overlay import Frame, overlaid
from featurebank.extraction.source_images import picture_sources
from featurebank.reporting.evidence import Evidence
from featurebank.system.backing.directories import is_file
from featurebank.words import one_line

WHAT = "Heat maps: bright parts speak for the wrong class, as the head sees the image."


def of_mistakes(evidence: Evidence, positions: np.ndarray, classes: np.ndarray) -> tuple[list[np.ndarray | None], str]:
    """Returns a picture of each image under its heat map.

    Args:
        evidence: the bank and its chosen run.
        positions: (n,) positions of the images in `Bank.ids()`.
        classes: (n,) the classes to explain, which are the predicted ones.

    Returns:
        (h, w, 3) uint8 for each image, or None; and what the heat maps show, or why there are none.
    """
    nothing: list[np.ndarray | None] = [None] * len(positions)
    run = evidence.winner
    if not len(positions) or run is None or run.fold:
        return nothing, ""
    if not (run.is_finetune or is_file(run.saved_path)):  # it would be trained again
        return nothing, f"There are no heat maps: the weights of run {run.run} were not kept."
    try:
        maps = heat_maps(evidence.bank, run, positions, classes)
    except FeatureBankError as error:
        return nothing, f"There are no heat maps: {one_line(error)}."
    known = [heat for heat in maps if not isinstance(heat, str)]
    if not known:
        return nothing, f"There are no heat maps: {one_line(maps[0])}."
    pictures = [
        None if isinstance(heat, str) else _overlay(evidence, source, heat)
        for heat, source in zip(maps, picture_sources(evidence.bank, positions.tolist()), strict=True)
    ]
    return pictures, WHAT if any(picture is not None for picture in pictures) else ""


def _overlay(evidence: Evidence, source: PictureSource, heat: np.ndarray) -> np.ndarray | None:
    """Returns an image under its heat map; None if it cannot be read, which its picture explains."""
    if isinstance(source, str):
        return None
    try:
        image = source(WHOLE)
    except Exception:  # noqa: BLE001 - a damaged file fails anywhere in Pillow
        return None
    recipe = evidence.bank.recipe
    frame = Frame(image.shape[1], image.shape[0], int(recipe["image_size"]), str(recipe["resize"]))
    small = Image.fromarray(image)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return overlaid(np.asarray(small), heat, frame)
