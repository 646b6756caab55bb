"""Measures one worker of one core: how long its network takes to load, and how long it takes for each piece of images.

The seconds of a piece are those of the processor, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import photo_folder
from benchmarks.scale.child import measure

NETWORKS = (("efficientnet_lite0", "imagenet"), ("resnet50", "random:0"))
"""A small and a large network."""
TAPS = {
    "efficientnet_lite0": ("pooled", "block6d_add:avg", "map"),
    "resnet50": ("pooled", "conv4_block6_out:avg", "map"),
}
"""One tap of each kind: a vector of the last map, a vector of a middle layer, a map."""
PHOTOS, QUICK_PHOTOS, QUICK_PIXELS = 500, 120, 64


def measured_workers(photos: Path | None, *, quick: bool) -> list[dict[str, Any]]:
    """Measures a worker for each network.

    Args:
        photos: a folder of class folders; None makes pictures.
        quick: whether to measure fewer images, of a small size.

    Returns:
        The results of `compute_pieces` for each network, with those of `digest_files`.
    """
    results = []
    with tempfile.TemporaryDirectory() as directory:
        folder = photo_folder(Path(directory) / "photos", QUICK_PHOTOS if quick else PHOTOS, photos)
        digests = measure("workers:digest_files", folder=str(folder))
        for network, weights in NETWORKS:
            arguments = {
                "network": network, "weights": weights, "folder": str(folder), "size": QUICK_PIXELS if quick else None,
                "cache": str(Path(directory) / network),
            }  # fmt: skip
            measure("workers:compute_pieces", threads=1, **arguments, most=1)  # the converted network is cached
            worker = measure("workers:compute_pieces", threads=1, **arguments)
            results.append({**digests, **worker, "load_seconds": worker["began"] + worker["loaded"]})
    return results


def compute_pieces(
    network: str, weights: str, folder: str, *, cache: str, size: int | None, most: int | None = None
) -> dict[str, Any]:
    """Computes and lists the pieces of an extraction on one core: decoding, forward pass, shards, notes.

    The first piece loads the network; the last one may be smaller. Neither is counted.

    Returns:
        `network`, `engine`, `precision`, `threads`, `image_size`, `loaded` (seconds until the first piece was
        done, without those of a piece), `piece_images`, `piece_seconds` (of the processor), `wall_seconds`,
        `listing_seconds_a_piece`, `row_bytes` by tap and `key_bytes`.
    """
    start = time.perf_counter()
    from featurebank import load_backbone, load_dataset
    from featurebank.bank.shard import KEY_DTYPE
    from featurebank.extraction import ExtractOptions
    from featurebank.extraction.pieces.opening import open_pieces
    from featurebank.extraction.pieces.runner import PieceRunner
    from featurebank.system.runtime import threads

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    backbone, options = load_backbone(network, weights=weights, image_size=size), ExtractOptions()
    work = open_pieces(load_dataset(folder), [backbone], options, cache=cache)
    pieces = work.plan().pieces[:most]
    seconds, walls, results, first = [], [], [], 0.0
    with PieceRunner([backbone], options) as runner:
        for piece in pieces:
            began, clock = time.perf_counter(), time.process_time()
            results.append(runner.run([piece], work.dataset))
            seconds.append(time.process_time() - clock)
            walls.append(time.perf_counter() - began)
            first = began + walls[0] - start if len(walls) == 1 else first
    began = time.perf_counter()
    work.list()
    counted = slice(1, -1) if len(pieces) > 2 else slice(None)
    return {
        "network": network, "engine": results[0].engines[0], "precision": results[0].precision, "threads": threads(),
        "image_size": backbone.image_size, "loaded": max(0.0, first - statistics.median(walls[counted])),
        "piece_images": len(pieces[0].images), "piece_seconds": seconds[counted], "wall_seconds": walls[counted],
        "listing_seconds_a_piece": (time.perf_counter() - began) / len(pieces), "key_bytes": KEY_DTYPE.itemsize,
        "row_bytes": row_bytes(backbone, Path(cache)),
    }  # fmt: skip


def row_bytes(backbone: Any, cache: Path) -> dict[str, int]:
    """Returns the bytes of a row of each kind of tap, as a bank stores it by default."""
    from featurebank.backbone.outline_files import outline_of
    from featurebank.bank.pieces.waiting_rows import default_dtype

    outline = outline_of(backbone, cache)
    shapes = {tap: outline.tap_shape(tap) for tap in TAPS[backbone.name]}
    return {tap: int(np.prod(shape)) * np.dtype(default_dtype(shape)).itemsize for tap, shape in shapes.items()}


def digest_files(folder: str) -> dict[str, Any]:
    """Computes the digests of all files, as the client of a cluster does.

    Returns:
        `read_bytes` (the mean size of a file), `digest_threads`, and `digests_per_second`: what the time of the
        processor allows with so many threads.
    """
    from featurebank import load_dataset
    from featurebank.system.runtime import threads

    dataset = load_dataset(folder)
    sizes = [file.stat().st_size for file in Path(folder).glob("*/*")]
    for file in Path(folder).glob("*/*"):
        file.read_bytes()  # into the page cache
    began = time.process_time()
    dataset.fingerprint()
    seconds = (time.process_time() - began) / threads()
    return {
        "read_bytes": sum(sizes) / len(sizes), "digests_per_second": len(sizes) / seconds, "digest_threads": threads()
    }  # fmt: skip
