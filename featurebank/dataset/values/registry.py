"""Remembers the datasets of values of this process by their specifications.

A bank records the specification of its dataset. That of a file leads to its images in any process; that of a value
only in the process that has it, or that is given an equal one again: it contains the digest of the content.
"""

from __future__ import annotations

import dataclasses

from featurebank.dataset.core import Contents
from featurebank.errors import DatasetError

PREFIX = "memory:"

_contents_by_spec: dict[str, Contents] = {}


def register(contents: Contents) -> str:
    """Remembers contents, and returns their specification."""
    spec = f"{PREFIX}{contents.name}"
    _contents_by_spec[spec] = dataclasses.replace(contents, spec=spec)
    return spec


def is_value_spec(spec: str) -> bool:
    """Returns whether a specification is that of a value."""
    return spec.startswith(PREFIX)


def is_registered(spec: str) -> bool:
    """Returns whether this process has been given the contents of a specification."""
    return spec in _contents_by_spec


def contents_for(spec: str) -> Contents:
    """Returns the contents of a specification.

    Raises:
        DatasetError: this process has not been given them.
    """
    if spec not in _contents_by_spec:
        message = (
            f"'{spec}' was in the memory of another process: call load_dataset with the same arrays or the same table "
            "in this one first"
        )
        raise DatasetError(message)
    return _contents_by_spec[spec]
