"""The maps of images of a bank: stored, or computed where the network starts at once."""

from __future__ import annotations

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded, plain_tap
from featurebank.bank import Bank
from featurebank.dataset.pictures import PictureSource, read_pictures
from featurebank.engine.catalog import load_engine
from featurebank.engine.openvino import starts_at_once
from featurebank.errors import FeatureBankError
from featurebank.explanation.features import taps_to_compute
from featurebank.extraction.source_images import picture_sources
from featurebank.system.progress import no_advance
from featurebank.words import one_line

WHOLE = 4096
"""The largest side at which images are read: far more than any network sees, so that rules of resizing, which depend on
proportions and on whether an image is larger than the network's input, find the same part of the image."""
_MOST_S = 5.0
"""No further image is read after so many seconds: disks of other machines can be slow."""
_TOLERANCE = 0.05
"""The largest difference of an average from the stored one, relative to the image's largest: decoders and stored types
cause differences, other images far larger ones."""


def maps_of(bank: Bank, tap: str, positions: np.ndarray) -> list[np.ndarray | str]:
    """Returns the maps of some images of a bank.

    If the bank lacks them, they are computed from those images that are files of this machine, by the converted network
    of the extraction. Their averages are compared with the stored ones, so that no map of another image is returned.

    Args:
        bank: the bank.
        tap: the tap of the map, which the bank may lack.
        positions: (n,) positions in `bank.ids()`.

    Returns:
        For each image (h, w, c) float32, or one line that says why there is no map.
    """
    if tap in bank.taps:
        return list(bank.rows(tap, positions))
    taps = taps_to_compute(bank, [tap])
    missing = f"the bank has no '{tap}', from which heat maps are made: 'featurebank explain' computes it from an image"
    try:
        backbone = load_recorded(bank.recipe, bank.manifest.source)
        if not starts_at_once(backbone, taps, bank.path.parent):
            return [missing] * len(positions)
        squares = _squares(bank, positions, backbone)
        readable = [one for one in squares if not isinstance(one, str)]
        if not readable:
            return [str(one) for one in squares]
        engine = load_engine(
            "openvino", backbone, taps, batch_size=len(readable), precision=bank.recipe["precision"],
            cache=bank.path.parent,
        )  # fmt: skip
        try:
            maps = iter(engine(np.stack(readable))[tap])
        finally:
            engine.close()
    except (FeatureBankError, OSError) as error:
        return [one_line(error)] * len(positions)
    results = [one if isinstance(one, str) else next(maps) for one in squares]
    return [_same(bank, tap, place, one) for place, one in zip(positions.tolist(), results, strict=True)]


def _squares(bank: Bank, positions: np.ndarray, backbone: Backbone) -> list[np.ndarray | str]:
    """Returns images as the network sees them, (s, s, 3) uint8, or the reasons why they cannot be read."""
    sources = [_resized(source, backbone) for source in picture_sources(bank, positions.tolist())]
    return read_pictures(sources, [WHOLE] * len(sources), limit_s=_MOST_S, progress=no_advance)


def _resized(source: PictureSource, backbone: Backbone) -> PictureSource:
    """Returns the source of the square of an image: whole images of all at once would take a gigabyte."""
    return source if isinstance(source, str) else lambda side: backbone.resize(source(side))


def _same(bank: Bank, tap: str, position: int, computed: np.ndarray | str) -> np.ndarray | str:
    """Returns a map if its average is the stored one; otherwise the reason why it is not used."""
    if isinstance(computed, str):
        return computed
    average = next(name for name in bank.taps if plain_tap(bank.recipe, name) == (tap.removesuffix(":map"), "avg"))
    stored, now = bank.rows(average, [position])[0], computed.mean(axis=(0, 1))
    if now.shape == stored.shape and np.abs(now - stored).max() <= _TOLERANCE * np.abs(stored).max():
        return computed
    return "the network's output for the image is not the stored one: run 'featurebank cache verify'"
