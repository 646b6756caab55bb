"""Measures one worker: how long its network takes to load, and how long it takes for each piece of images."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.pictures import photo_folder
from benchmarks.scale.child import measure

NETWORKS = (("efficientnet_lite0", "imagenet", 128), ("resnet50", "random:0", 64))
"""A small and a large network, with the images of a measured piece."""
TAPS = {
    "efficientnet_lite0": ("pooled", "block6d_add:avg", "map"),
    "resnet50": ("pooled", "conv4_block6_out:avg", "map"),
}
"""One tap of each kind: a vector of the last map, a vector of a middle layer, a map."""


def measured_workers(photos: Path | None, *, quick: bool) -> list[dict[str, Any]]:
    """Measures one worker of one thread for each network.

    Returns:
        For each: `network`, `engine`, `precision`, `threads`, `piece_images`, `piece_seconds`, `load_seconds`,
        `read_bytes` of an image, `digests_per_second`, and by tap the bytes of a row (`row_bytes`).
    """
    results = []
    with tempfile.TemporaryDirectory() as directory:
        for network, weights, images in NETWORKS:
            piece, count = (16, 2) if quick else (images, 8)
            folders = [
                str(photo_folder(Path(directory) / network / f"{number}", piece, photos, first=number * piece))
                for number in range(count + 1)
            ]
            cache = str(Path(directory) / network / "cache")
            arguments = {
                "network": network, "weights": weights, "folders": folders, "cache": cache,
                "size": 112 if quick else None,
            }  # fmt: skip
            measure("workers:compute_pieces", threads=1, **arguments)  # converts the network, which is cached
            results.append(measure("workers:compute_pieces", threads=1, **arguments))
    return results


def compute_pieces(network: str, weights: str, folders: list[str], cache: str, size: int | None) -> dict[str, Any]:
    """Loads a network and computes one piece for each folder but the first, which is not counted; see `child`."""
