"""Public settings of the process, and the base of the errors."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from featurebank.api.arguments.checks import checked
from featurebank.api.display import set_progress
from featurebank.errors import FeatureBankError, FeatureBankWarning
from featurebank.storage.caches import limit_local_cache
from featurebank.system.runtime import limit_ram, limit_threads

__all__ = ["FeatureBankError", "FeatureBankWarning", "set_local_cache", "set_progress", "set_ram", "set_threads"]


@checked
def set_threads(count: Annotated[int, Ge(1)] | None) -> None:
    """Sets how many threads featurebank uses in this process; None means one for each usable core.

    Raises:
        ConfigError: the count is below 1.

    Example:
        >>> set_threads(2)
        >>> set_threads(None)  # all usable cores
    """
    limit_threads(count)


@checked
def set_local_cache(limit: int | str | None) -> None:
    """Sets how many bytes of shards and models of a cache in a bucket stay on this machine, in its mirror.

    The least recently used ones are deleted from the mirror, never from the bucket, and are fetched again on demand.

    Args:
        limit: bytes, or a text like "50GB"; None means half of the space that is free when the cache is opened.

    Raises:
        ConfigError: the limit is not a number of bytes, or is below a megabyte.

    Example:
        >>> set_local_cache("50GB")
        >>> set_local_cache(None)  # half of the free space
    """
    limit_local_cache(limit, "limit")


@checked
def set_ram(limit: int | str | None) -> None:
    """Sets how many bytes of features featurebank may hold in memory at once; None means half of the usable memory.

    Args:
        limit: bytes, or a text like "8GB", "500 MB" or "2e9".

    Raises:
        ConfigError: the limit is not a number of bytes, or is below a megabyte.

    Example:
        >>> set_ram("8GB")
        >>> set_ram(None)  # half of the usable memory
    """
    limit_ram(limit, "limit")
