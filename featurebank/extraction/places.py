"""Where in a cache the bank of an extraction lies, and what helps it."""

from __future__ import annotations

from pathlib import Path

from featurebank.backbone import Backbone
from featurebank.backbone.resize import AUTO, CROP
from featurebank.bank.catalog import locate_bank
from featurebank.bank.manifest import MANIFEST
from featurebank.dataset import Dataset
from featurebank.extraction.options import ExtractOptions
from featurebank.system.runtime import default_cache


def locate(
    dataset: Dataset, backbone: Backbone, options: ExtractOptions | None = None, cache: str | Path | None = None
) -> Path:
    """Returns where the bank of a dataset and a backbone lies, whether it is there or not."""
    recipe = (options or ExtractOptions()).recipe(backbone)
    return locate_bank(Path(cache) if cache else default_cache(), dataset.name, recipe)


def bank_of_earlier_rule(
    dataset: Dataset, backbone: Backbone, options: ExtractOptions, cache: str | Path | None
) -> str | None:
    """Returns the name of the bank that was the default's before `AUTO`, where that is there and the default's not."""
    path = locate(dataset, backbone, options, cache)
    if backbone.resize_rule != AUTO or (path / MANIFEST).exists():
        return None
    earlier = locate_bank(path.parent, dataset.name, {**options.recipe(backbone), "resize": CROP})
    return earlier.name if (earlier / MANIFEST).exists() else None


def fingerprint_memory(cache: str | Path | None = None) -> Path:
    """Returns where a cache remembers the content digests of files."""
    return (Path(cache) if cache else default_cache()) / ".fingerprints"
