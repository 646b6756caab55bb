"""Images on their way to an engine: decoded and resized ahead by a pool of threads, in order, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from featurebank.backbone import Backbone
from featurebank.dataset import Dataset
from featurebank.errors import BadImageError
from featurebank.runtime import threads


@dataclass(frozen=True)
class Batch:
    """Some images, ready for a backbone."""

    indices: np.ndarray
    """(n,) positions in the dataset."""
    images: np.ndarray
    """(n, size, size, 3) uint8 RGB."""
    bad: tuple[tuple[int, str], ...]
    """Position and reason of each image that stood among these and cannot be decoded."""


def feed(dataset: Dataset, backbone: Backbone, indices: Iterable[int], batch_size: int) -> Generator[Batch, None, None]:
    """Yields the images of a dataset in the order asked for.

    Memory is bounded: at most two batches (and four images a thread) are decoded ahead.

    Args:
        dataset: where the images are read.
        backbone: whose input size and resize rule apply.
        indices: positions in the dataset.
        batch_size: images in each batch but the last, which may have fewer, or bad ones alone.
    """
    taken: list[tuple[int, np.ndarray]] = []
    bad: list[tuple[int, str]] = []
    for index, image in _resized(dataset, backbone, indices, ahead=max(2 * batch_size, 4 * threads())):
        if isinstance(image, BadImageError):
            bad.append((index, str(image)))
            continue
        taken.append((index, image))
        if len(taken) == batch_size:
            yield _batch(taken, bad)
            taken, bad = [], []
    if taken or bad:
        yield _batch(taken, bad)


def _resized(
    dataset: Dataset, backbone: Backbone, indices: Iterable[int], *, ahead: int
) -> Iterator[tuple[int, np.ndarray | BadImageError]]:
    def read(index: int) -> np.ndarray | BadImageError:
        try:
            return backbone.resize(dataset.image(index))
        except BadImageError as error:
            return error

    waiting: deque[tuple[int, Future[np.ndarray | BadImageError]]] = deque()
    with ThreadPoolExecutor(threads(), thread_name_prefix="featurebank-decode") as pool:
        try:
            for index in indices:
                waiting.append((index, pool.submit(read, index)))
                if len(waiting) >= ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _batch(taken: list[tuple[int, np.ndarray]], bad: list[tuple[int, str]]) -> Batch:
    images = np.stack([image for _, image in taken]) if taken else np.empty((0, 0, 0, 3), np.uint8)
    return Batch(np.array([index for index, _ in taken], np.int64), images, tuple(bad))
