"""The paths of an extraction's bank and of its helper files in a cache."""

from __future__ import annotations

from pathlib import Path

from featurebank.backbone import Backbone
from featurebank.backbone.resize import AUTO, CROP
from featurebank.bank.catalog import locate_bank
from featurebank.bank.manifest import MANIFEST
from featurebank.dataset import Dataset
from featurebank.extraction.options import ExtractOptions
from featurebank.storage.caches import cache_directory
from featurebank.system.backing.directories import is_file


def locate(
    dataset: Dataset, backbone: Backbone, options: ExtractOptions | None = None, cache: str | Path | None = None
) -> Path:
    """Returns the path of the bank of a dataset and a backbone, whether it exists or not.

    Example:
        >>> locate(fb.load_dataset("digits"), fb.load_backbone("vgg16", weights="random:0"), cache="cache")
        PosixPath('cache/digits-vgg16-224px-...')
    """
    recipe = (options or ExtractOptions()).recipe(backbone)
    return locate_bank(cache_directory(cache), dataset.name, recipe)


def bank_of_earlier_rule(
    dataset: Dataset, backbone: Backbone, options: ExtractOptions, cache: str | Path | None
) -> str | None:
    """Returns the name of the bank of the default before `AUTO`, if it exists and that of today's default does not."""
    path = locate(dataset, backbone, options, cache)
    if backbone.resize_rule != AUTO or is_file(path / MANIFEST):
        return None
    earlier = locate_bank(path.parent, dataset.name, {**options.recipe(backbone), "resize": CROP})
    return earlier.name if is_file(earlier / MANIFEST) else None


def fingerprint_memory(cache: str | Path | None = None) -> Path:
    """Returns the path of the cache of files' content digests.

    Example:
        >>> fingerprint_memory("cache").as_posix()
        'cache/.fingerprints'
    """
    return cache_directory(cache) / ".fingerprints"
