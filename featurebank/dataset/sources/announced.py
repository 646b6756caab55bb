"""Information on datasets that a run would download."""

from __future__ import annotations

from featurebank.dataset.catalog import DatasetInfo, known_datasets
from featurebank.dataset.remote.fetching import is_url


def announced_dataset(spec: str) -> DatasetInfo | None:
    """Returns the known facts of a dataset that is not on this machine; None if loading it downloads nothing.

    Args:
        spec: see `featurebank.dataset.catalog`.

    Example:
        >>> announced_dataset("hf:beans").where
        'from its hub'
    """
    known = {info.name: info for info in known_datasets()}
    if spec in known:
        return None if known[spec].available else known[spec]
    kind, _, argument = spec.partition(":")
    if kind in {"hf", "tfds"} and not argument.startswith((".", "/", "~")):
        return DatasetInfo(spec, "", None, available=False, where="from its hub")
    if is_url(spec) or (kind == "manifest" and is_url(argument)):
        return DatasetInfo(spec, "", None, available=False, where="from its URL")
    return None
