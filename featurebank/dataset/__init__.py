"""Datasets: where the images are, what is on them, and which split each belongs to.

`load_dataset` is the door. Importing this package imports neither scikit-learn nor Keras.
"""

from __future__ import annotations

from featurebank.dataset.announced import announced_dataset
from featurebank.dataset.catalog import DatasetInfo, dataset_kinds, list_datasets, load_dataset
from featurebank.dataset.core import Dataset, Skipped

__all__ = ["Dataset", "DatasetInfo", "Skipped", "announced_dataset", "dataset_kinds", "list_datasets", "load_dataset"]
