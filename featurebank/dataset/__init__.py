"""Datasets: the images, their labels, and the split of each.

A specification such as `folder:photos` becomes a `Dataset` of ids, labels, splits and content digests; images are
decoded on demand. `load_images` is the entry point; open `core` first, then `catalog`. Importing this package imports
neither scikit-learn nor Keras.
"""

from __future__ import annotations

from featurebank.dataset.catalog import DatasetInfo, dataset_kinds, known_datasets, load_images
from featurebank.dataset.core import Dataset, Skipped
from featurebank.dataset.options import DatasetOptions
from featurebank.dataset.sources.announced import announced_dataset

__all__ = [
    "Dataset",
    "DatasetInfo",
    "DatasetOptions",
    "Skipped",
    "announced_dataset",
    "dataset_kinds",
    "known_datasets",
    "load_images",
]
