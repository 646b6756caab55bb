"""Measures one worker of one core: how long its network takes to load, and how long it takes for each piece of images.

The seconds of a piece are those of the processor, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.pictures import photo_folder
from benchmarks.scale.child import measure

NETWORKS = (("efficientnet_lite0", "imagenet", 64), ("resnet50", "random:0", 32))
"""A small and a large network, with the images of a measured piece."""
TAPS = {
    "efficientnet_lite0": ("pooled", "block6d_add:avg", "map"),
    "resnet50": ("pooled", "conv4_block6_out:avg", "map"),
}
"""One tap of each kind: a vector of the last map, a vector of a middle layer, a map."""
PIECES, QUICK_PIECES, QUICK_IMAGES, QUICK_PIXELS = 7, 2, 8, 64


def measured_workers(photos: Path | None, *, quick: bool) -> list[dict[str, Any]]:
    """Measures one worker of one thread for each network.

    Args:
        photos: a folder of class folders; None makes pictures.
        quick: whether to measure a few images of a small size.

    Returns:
        The results of `compute_pieces` for each network, with those of `digest_files`.
    """
    results = []
    for network, weights, images in NETWORKS:
        piece, count = (QUICK_IMAGES, QUICK_PIECES) if quick else (images, PIECES)
        with tempfile.TemporaryDirectory() as directory:
            folder = photo_folder(Path(directory) / "photos", piece * (count + 1), photos)
            folders = [str(one) for one in cut_folder(folder, Path(directory) / "pieces", piece)]
            arguments = {
                "network": network, "weights": weights, "folders": folders, "cache": str(Path(directory) / "cache"),
                "size": QUICK_PIXELS if quick else None,
            }  # fmt: skip
            measure("workers:compute_pieces", threads=1, **{**arguments, "folders": folders[:1]})  # caches the network
            worker = measure("workers:compute_pieces", threads=1, **{**arguments, "folders": folders[1:]})
            worker["load_seconds"] = worker["began"] + worker["loaded"]
            digests = measure("workers:digest_files", folder=str(folder))
            results.append({**digests, **worker})  # the memory is that of the worker
    return results


def cut_folder(folder: Path, target: Path, images: int) -> list[Path]:
    """Links the files of a folder of class folders into folders of `images` files each; the rest is left out."""
    files = sorted(folder.glob("*/*"), key=lambda file: (file.name, file.parent.name))
    folders = []
    for number in range(len(files) // images):
        folders.append(target / f"piece{number:03d}")
        for file in files[number * images : (number + 1) * images]:
            link = folders[-1] / file.parent.name / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
    return folders


def compute_pieces(network: str, weights: str, folders: list[str], cache: str, size: int | None) -> dict[str, Any]:
    """Loads a network, and computes a piece for each folder, on one core: decoding, forward pass, the shard on disk.

    Returns:
        `network`, `engine`, `precision`, `threads`, `image_size`, `loaded` (seconds until the first batch is done),
        `piece_images`, `piece_seconds` (of the processor), `wall_seconds`, `row_bytes` by tap and `key_bytes`.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from featurebank import load_backbone, load_dataset
    from featurebank.bank.shard import KEY_DTYPE
    from featurebank.engine.catalog import load_engine
    from featurebank.extraction import ExtractOptions, run_extraction
    from featurebank.system.runtime import threads

    began = time.perf_counter()
    backbone = load_backbone(network, weights=weights, image_size=size)
    options = ExtractOptions(batch_size=8 if size else 32)
    engine = load_engine("auto", backbone, options.taps, batch_size=options.batch_size, cache=Path(cache))
    engine(np.zeros((1, backbone.image_size, backbone.image_size, 3), np.uint8))
    loaded = time.perf_counter() - began
    lent = mock.Mock(wraps=engine, depth=engine.depth)
    lent.name, lent.close = engine.name, lambda: None
    seconds, walls, images = [], [], []
    with mock.patch("featurebank.extraction.target.load_engine", return_value=lent):
        for folder in folders:
            dataset = load_dataset(folder)
            dataset.fingerprint()  # the client of a cluster does that
            started, clock = time.perf_counter(), time.process_time()
            done = run_extraction(dataset, backbone, options, cache=cache)
            seconds.append(time.process_time() - clock)
            walls.append(time.perf_counter() - started)
            images.append(done.computed)
    engine.close()
    return {
        "network": network, "engine": engine.name, "precision": engine.precision, "threads": threads(),
        "image_size": backbone.image_size, "loaded": loaded, "piece_images": images[0], "piece_seconds": seconds,
        "wall_seconds": walls,
        "key_bytes": KEY_DTYPE.itemsize, "row_bytes": row_bytes(backbone, Path(cache)),
    }  # fmt: skip


def row_bytes(backbone: Any, cache: Path) -> dict[str, int]:
    """Returns the bytes of a row of each kind of tap, as a bank stores it by default."""
    from featurebank.backbone.outline import outline_of
    from featurebank.bank.writer import default_dtype

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
